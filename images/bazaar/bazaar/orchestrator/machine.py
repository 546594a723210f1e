"""The state machine of an episode: it runs the steps, with a checkpoint after each, to `done` or `failed`.

Each step has one checkpoint row. A step whose row is done is never run again; one that was only started is, and is safe
to repeat because its effects have keys. The row that ends a step and the one that starts the next are one transaction.
"""

import json
import logging
from typing import Any
from uuid import UUID

from nats.js import JetStreamContext
from prometheus_client import Counter

from bazaar import tracing
from bazaar.db import Database, Row
from bazaar.faults import fault
from bazaar.frames import EPISODES, Frames, last_frame, publish_end
from bazaar.orchestrator import steps
from bazaar.orchestrator.llm import MODE
from bazaar.orchestrator.ports import Live
from bazaar.orchestrator.record import Recorder, inputs_of
from bazaar.orchestrator.steps import DONE, FIRST, Episode, Output, Outputs, Ports
from bazaar.problems import Problem
from bazaar.records import Inputs, Record, Step, state_after, state_before

LOG = logging.getLogger(__name__)
DECISIONS = Counter("router_decisions_total", "Messages routed, by the router itself or past it.", ["agent", "exit"])


class _Overtaken(Exception):
    """Another delivery of the task was faster, the episode was failed meanwhile, or its tenant was removed."""


class Machine:
    """Runs episodes to their end."""

    def __init__(self, db: Database, js: JetStreamContext, ports: Live) -> None:
        self._db, self._js, self._ports = db, js, ports

    async def run(self, tenant_id: UUID, episode_id: UUID, delivery: int) -> None:
        """Run an episode from its last checkpoint to its end, and tell its clients; nothing if its tenant is gone.

        Raises ModelError or ToolError if a step failed and may be tried again.
        """
        async with self._db.tenant(tenant_id) as transaction:
            row = await transaction.row("load_episode", episode_id=episode_id)
            if row is None:
                LOG.warning("episode %s is gone with its tenant", episode_id)
                return
            MODE.set(row.mode)
            if row.state not in ("queued", "running"):
                return await publish_end(self._js, tenant_id, row)
            await transaction.run("start_episode", episode_id=episode_id, step=FIRST)
        if row.before and await last_frame(self._js, tenant_id, row.conversation) < row.frames:
            # It was interrupted between its end and its last frames.
            await self.run(tenant_id, row.before, delivery)
        workflow = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.conversation.id": str(row.conversation)}
        async with Frames(self._js, tenant_id, row.conversation, episode_id, row.frames) as frames:
            try:
                with tracing.span("invoke_workflow", attributes=workflow):
                    await self._run(_episode(row, delivery), row.steps, frames)
            except _Overtaken:
                await self.run(tenant_id, episode_id, delivery)

    async def record(self, tenant_id: UUID, episode_id: UUID) -> Record:
        """The record of an episode that is done. Raises Problem `not-found`."""
        async with self._db.tenant(tenant_id) as transaction:
            row = await transaction.row("load_episode", episode_id=episode_id)
            if row is None or row.state != "done":
                raise Problem("not-found", "no such episode, or it is not done")
        inputs = inputs_of(_episode(row, delivery=1))
        outputs, step, done = {name: s["output"] for name, s in row.steps.items()}, FIRST, []
        while step != DONE:
            done.append(Step(step=step, **row.steps[step]))
            step = steps.following(step, outputs)
        return Record(inputs=inputs, state=state_before(inputs), steps=done)

    async def _run(self, episode: Episode, done: dict[str, Any], frames: Frames) -> None:
        if not done:
            await frames.publish("started")
        outputs: Outputs = {step: told["output"] for step, told in done.items()}
        states = {step: told["state"] for step, told in done.items()}
        state, step = state_before(inputs_of(episode)), FIRST
        while step != DONE:
            if step not in outputs:
                await frames.publish("step", step=step)
                early = steps.tool_of(step, outputs) and fault("checkpoint_before_effect") is not None
                if early:
                    promised = Step(step=step, calls=[], output={"ok": True}, state=state)
                    await self._checkpoint(episode, promised, {**outputs, step: promised.output}, frames.count)
                recorder = Recorder(self._ports, frames.say)
                output = outputs[step] = await self._perform(step, episode, outputs, recorder)
                states[step] = state_after(state, step, recorder.calls, output)
                await frames.settle()
                if not early:
                    finished = Step(step=step, calls=recorder.calls, output=output, state=states[step])
                    await self._checkpoint(episode, finished, outputs, frames.count)
            state, step = states[step], steps.following(step, outputs)
        await frames.publish("message", text=outputs["compose"]["text"])
        await frames.publish("ended", state="done")
        await frames.settle()

    async def _perform(self, step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
        tool = steps.tool_of(step, outputs)
        name, attributes = step, {}
        if tool:
            name = f"execute_tool {tool}"
            attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        with tracing.span(name, attributes=attributes):
            output = await steps.perform(step, episode, outputs, ports)
        if step == "route":
            DECISIONS.labels(output["agent"], output["exit"]).inc()
        return output

    async def _checkpoint(self, episode: Episode, done: Step, outputs: Outputs, frames: int) -> None:
        following = steps.following(done.step, outputs)
        if following == DONE:
            frames += 2  # `message` and `ended`: published when this is committed
        async with self._db.tenant(episode.tenant_id) as transaction:
            finished = await transaction.row(
                "finish_step",
                conversation=episode.conversation,
                episode_id=episode.episode_id,
                step=done.step,
                output=json.dumps(done.output),
                calls=json.dumps([call.model_dump(mode="json") for call in done.calls]),
                state=done.state,
                frames=frames,
                following=following,
            )
            if finished is None:
                raise _Overtaken
            if following != DONE:
                return
            ended = await transaction.row(
                "finish_episode",
                episode_id=episode.episode_id,
                intent=outputs["route"]["agent"],
                reply=outputs["compose"]["text"],
                channel=episode.channel,
                frames=frames,
            )
            if ended is None:
                raise _Overtaken
            await transaction.run("count_usage", episode_id=episode.episode_id)
        EPISODES.labels("done").inc()


def _episode(row: Row, delivery: int) -> Episode:
    """An episode as its steps see it, from a row of `load_episode`."""
    return Episode(**{name: getattr(row, name) for name in Inputs.model_fields}, delivery=delivery)
