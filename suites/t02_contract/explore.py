"""Explores one operation with schemathesis: examples, the edges of the schema, fuzzing, and all its checks.

In this process and not by its command line, so that operations are tests of their own and start-up is paid once.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.cli.context import BaseExecutionContext
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.engine.run import PhaseName
from schemathesis.hooks import HookContext
from t02_contract.baseline import DOCUMENT, Operation

EXAMPLES = 100
"""Cases of each operation at least."""
MARGIN = 5
FUZZED = 5
"""Fuzzed cases of an operation whose examples and edges alone are EXAMPLES; one with fewer is fuzzed for the rest."""


@dataclass
class Exploration:
    """What was sent and what came of it."""

    cases: int = 0
    accepted: int = 0
    """Valid cases that were answered 2xx."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Name of the check, and what it says in one line."""
    warnings: list[str] = field(default_factory=list)
    made: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of answers with status 201."""


def explore(operation: Operation, url: str, key: str, values: dict[str, Any], body: Any, seed: int) -> Exploration:
    """Send what the schema allows and what it forbids. Raises RuntimeError for what schemathesis cannot do."""
    document = copy.deepcopy(DOCUMENT)
    definition = document["paths"][operation.path][operation.method]
    dictionaries, bindings = {}, {}
    for parameter in definition.get("parameters", []):
        name = parameter["name"]
        if name in values:
            parameter["example"] = values[name]
            if parameter["in"] == "path":  # half of the cases meet something that is there
                dictionaries[name] = {"values": [values[name]]}
                bindings[f"path.{name}"] = {"dictionary": name, "probability": 0.5}
    if body is not None:
        definition["requestBody"]["content"]["application/json"]["example"] = body
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "auth": {"openapi": {"key": {"bearer": key}}},
            "dictionaries": dictionaries,
            "parameters": bindings,
            "generation": {"max-examples": FUZZED, "database": "none", "no-shrink": True},
            # What the operation makes is not what the next one needs, so chains of operations are the journeys' job,
            # and what one operation alone could learn from its answers is not worth a seventh of the time.
            "phases": {
                "stateful": {"enabled": False},
                "examples": _ALONE,
                "coverage": _ALONE,
                "fuzzing": {**_ALONE, "error-feedback": {"enabled": False}},
            },
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*_ACCEPTED]},
                "negative_data_rejection": {"expected-statuses": [*_REJECTED]},
            },
            "continue-on-failure": True,
            "request-timeout": 30,
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config).include(operation_id=operation.id)
    found = Exploration()
    context = BaseExecutionContext(schema.config, schema.find_operation_by_label)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _take(found, event.recorder)
            context.warning_collector.on_scenario_finished(context, event)
        elif isinstance(event, events.PhaseStarted) and event.phase.name is PhaseName.FUZZING:
            schema.config.generation.update(max_examples=max(FUZZED, EXAMPLES + MARGIN - found.cases))
        elif isinstance(event, events.SchemaAnalysisWarnings):
            context.warning_collector.on_schema_warnings(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            raise RuntimeError(f"schemathesis could not explore {operation.id}: {event}")
    found.warnings = [kind for kind, labels in context.warnings.as_labels().items() if labels]
    return found


@schemathesis.hook
def before_call(context: HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Ask the platform directly: to look for a proxy in the environment, each time, is an eighth of the CPU time."""
    if "session" in kwargs:
        kwargs["session"].trust_env = False


_ALONE = {"extra-data-sources": {"responses": False}}
_ACCEPTED = ("2xx", "404", "409", "413")
"""What a valid request may meet: success, or something that is not there, is in the way, or is too large."""
_REJECTED = ("400", "401", "404", "405", "413", "415", "422")
"""How an invalid request may be refused; one that is too large is not looked at any further."""


def _take(found: Exploration, recorder: ScenarioRecorder) -> None:
    for case_id, interaction in recorder.interactions.items():
        found.cases += 1
        response = interaction.response
        meta = recorder.cases[case_id].value.meta if case_id in recorder.cases else None
        if response is None:
            continue
        if meta is not None and meta.generation.mode.value == "positive" and 200 <= response.status_code < 300:
            found.accepted += 1
        if response.status_code == 201 and response.content:
            found.made.append(response.json())
    for checks in recorder.checks.values():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                found.failures.append((check.name, f"{failure.title}: {' '.join(failure.message.split())[:300]}"))
