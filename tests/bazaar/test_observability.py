"""What can be seen of the platform from outside: one trace for each message, its log lines, and metrics in seconds.

The spans are taken where the roles send them, and the log lines from the sink that runs beside them.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import nats
from collector import Seen
from loopback import Platform, free_port, roles
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from prometheus_client.parser import text_string_to_metric_families
from shop import Shop, new_shop


def traced() -> tuple[str, dict[str, str]]:
    """A new trace id, and headers that start its trace and carry baggage."""
    trace_id = uuid4().hex
    return trace_id, {"traceparent": f"00-{trace_id}-{uuid4().hex[:16]}-01", "baggage": "test.id=t09"}


def names(spans: list[Seen]) -> set[str]:
    return {seen.span.name for seen in spans}


def roots(spans: list[Seen]) -> list[Seen]:
    known = {seen.span.span_id for seen in spans}
    return [seen for seen in spans if seen.span.parent_span_id not in known]


def complete(spans: list[Seen]) -> bool:
    return {"POST /v1/messages", "tasks process"} <= names(spans) and len(roots(spans)) == 1


def asking(spans: list[Seen], *statements: str) -> list[Seen]:
    """The transactions that asked for the first of the statements; none if one of the statements is in none."""
    asked = {s: [t for t in spans if s in str(t.attributes.get("db.query.summary")).split()] for s in statements}
    return asked[statements[0]] if all(asked.values()) else []


@contextmanager
def faulty_gateway(bazaar: Platform, folder: Path, fault: str) -> Iterator[Shop]:
    """A shop behind a gateway with a planted fault."""
    with (
        roles({"gateway": free_port()}, folder, {**bazaar.environment, "FAULTS": fault}) as urls,
        httpx.Client(base_url=urls["gateway"], timeout=30) as http,
    ):
        yield new_shop(http, bazaar.admin_key)


def test_a_message_is_one_trace_with_one_root(bazaar: Platform, shop: Shop) -> None:
    trace_id, headers = traced()
    assert shop.say("I want to buy 2 Mug", headers=headers)["state"] == "done"

    everyone = {"gateway", "orchestrator", "router", "tools", "model"}

    def all_there(seen: list[Seen]) -> bool:
        answers = [s for s in seen if s.span.name == "POST /v1/chat/completions"]  # of the plan and of the reply
        told = asking(seen, "insert_order", "finish_episode")
        return complete(seen) and bool(told) and len(answers) >= 2 and everyone <= {s.role for s in seen}

    spans = bazaar.traces.trace(trace_id, all_there)
    by_id = {seen.span.span_id: seen for seen in spans}
    assert [(root.role, root.span.name) for root in roots(spans)] == [("gateway", "POST /v1/messages")]
    assert {seen.role for seen in spans} == everyone

    def path(seen: Seen) -> list[str]:
        above = by_id.get(seen.span.parent_span_id)
        return [*(path(above) if above else []), seen.span.name]

    (insert,) = asking(spans, "insert_order")
    assert path(insert) == [
        "POST /v1/messages",
        "tasks send",
        "tasks process",
        "invoke_workflow",
        "execute_tool place_order",
        "POST /tools/{tool}",
        "transaction",
    ]
    assert insert.role == "tools"
    assert insert.attributes["db.system.name"] == "postgresql"
    answers = [seen for seen in spans if seen.span.name == "POST /v1/chat/completions"]
    calls = [by_id[seen.span.parent_span_id] for seen in answers]
    assert {seen.span.name for seen in calls} == {"chat bazaar-scripted"}
    assert len(calls) == len({call.span.span_id for call in calls}) >= 2
    ledger = httpx.get(f"{bazaar.urls['model']}/ledger", params={"trace_id": trace_id}).json()["calls"]
    tokens = [
        (call.attributes["gen_ai.usage.input_tokens"], call.attributes["gen_ai.usage.output_tokens"]) for call in calls
    ]
    assert sorted(tokens) == sorted((entry["prompt_tokens"], entry["completion_tokens"]) for entry in ledger)
    assert not any(seen.error for seen in spans)
    assert not {name for name in names(spans) if name.startswith("GET /readyz")}


def test_an_arm_has_its_own_tasks_and_they_carry_trace_and_baggage(bazaar: Platform, tmp_path: Path) -> None:
    arm = {**bazaar.environment, "BAZAAR_ARM": "b"}

    async def last_task() -> dict[str, str]:
        client = await nats.connect(bazaar.urls["nats"])
        try:
            return (await client.jetstream().get_last_msg("TASKS", "tasks.b.message")).headers or {}
        finally:
            await client.close()

    trace_id, headers = traced()
    with (
        roles({"gateway": free_port()}, tmp_path, arm) as urls,
        httpx.Client(base_url=urls["gateway"], timeout=30) as http,
    ):
        shop = new_shop(http, bazaar.admin_key)
        episode_id = shop.send("I want to buy 2 Mug", headers=headers).json()["episode_id"]
        waited = shop.request("GET", f"/v1/episodes/{episode_id}", headers={"Prefer": "wait=2"}).json()
        assert waited["state"] == "queued", "the orchestrators of the other arm took it"
        carried = asyncio.run(last_task())
        assert carried["traceparent"].split("-")[1] == trace_id
        assert carried["baggage"] == headers["baggage"]
        with roles({"orchestrator": free_port()}, tmp_path, arm):
            assert shop.wait(episode_id)["state"] == "done"


def failing_trace(bazaar: Platform, folder: Path, fault: str) -> list[Seen]:
    """The trace of a message of arm b, whose orchestrator reaches no model."""
    arm = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": fault, "BAZAAR_MODEL_URL": "http://127.0.0.1:9"}
    trace_id, headers = traced()
    with (
        roles({"gateway": free_port(), "orchestrator": free_port()}, folder, arm) as urls,
        httpx.Client(base_url=urls["gateway"], timeout=30) as http,
    ):
        assert new_shop(http, bazaar.admin_key).say("Hello", headers=headers)["state"] == "failed"
        return bazaar.traces.trace(trace_id, lambda seen: sum(s.span.name == "tasks process" for s in seen) == 4)


def test_failed_work_is_an_error_with_its_kind(bazaar: Platform, tmp_path: Path) -> None:
    spans = failing_trace(bazaar, tmp_path, "")
    failed = [seen for seen in spans if seen.error]
    assert {"tasks process"} <= names(failed)
    assert all(seen.attributes["error.type"] for seen in failed)
    assert {seen.role for seen in failed} == {"orchestrator"}


def test_planted_swallowed_errors(bazaar: Platform, tmp_path: Path) -> None:
    spans = failing_trace(bazaar, tmp_path, "span_error_swallowed")
    assert "tasks process" in names(spans)
    assert [seen for seen in spans if seen.error or "error.type" in seen.attributes] == []


def test_log_lines_are_found_by_trace(bazaar: Platform, shop: Shop) -> None:
    trace_id, headers = traced()
    shop.say("I want to buy 2 Mug", headers=headers)

    def lines(**query: str | int) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{bazaar.urls['logsink']}/logs", params=query).raise_for_status().json()
        return answer

    deadline = time.monotonic() + 10
    speakers = {"gateway", "router", "tools", "model"}
    while not speakers <= {line["role"] for line in lines(trace_id=trace_id)["lines"]} and time.monotonic() < deadline:
        time.sleep(0.1)
    found = lines(trace_id=trace_id)["lines"]
    assert speakers <= {line["role"] for line in found}
    for line in found:
        entry = json.loads(line["body"])
        assert (entry["trace_id"], entry["span_id"], entry["level"]) == (trace_id, line["span_id"], line["severity"])
        log = (bazaar.folder / f"{line['role']}.log").read_text()
        assert line["body"] in log.splitlines()
    (accepted,) = lines(trace_id=trace_id, contains="POST /v1/messages")["lines"]
    later = lines(since=accepted["sequence"])
    assert all(line["sequence"] > accepted["sequence"] for line in later["lines"])
    assert later["last"] >= accepted["sequence"]


def test_the_sink_is_bounded_and_says_what_it_dropped(bazaar: Platform, tmp_path: Path) -> None:
    record = LogRecord(severity_text="INFO", body=AnyValue(string_value="x" * 100), trace_id=b"\1" * 16)
    scope = ScopeLogs(log_records=[record] * 10)
    batch = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[scope])]).SerializeToString()
    environment = {**bazaar.environment, "BAZAAR_KEPT_BYTES": "2500"}
    with roles({"logsink": free_port()}, tmp_path, environment) as urls, httpx.Client(base_url=urls["logsink"]) as sink:
        for _ in range(2):
            assert sink.post("/v1/logs", content=batch).status_code == 200
        kept = sink.get("/logs").json()
        assert (kept["first"], kept["last"], len(kept["lines"])) == (16, 20, 5)
        assert sink.get("/logs", params={"trace_id": "02" * 16}).json()["lines"] == []
        assert sink.post("/v1/logs", content=b"\xff\xff").json()["code"] == "malformed-request"
        assert sink.post("/v1/logs", content=b"0" * (2**20 + 1)).json()["code"] == "payload-too-large"


def count(metrics: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    families = text_string_to_metric_families(metrics)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


MESSAGES = {"method": "POST", "route": "/v1/messages"}


def test_counters_and_durations_are_those_of_the_requests(bazaar: Platform, shop: Shop) -> None:
    def measured() -> tuple[float, float, float]:
        text = httpx.get(f"{bazaar.urls['gateway']}/metrics").text
        counted = count(text, "http_requests_total", **MESSAGES)
        seconds = "http_request_duration_seconds"
        return counted, count(text, f"{seconds}_count", **MESSAGES), count(text, f"{seconds}_sum", **MESSAGES)

    before = measured()
    started = time.perf_counter()
    answers = [shop.send("Hello").status_code for _ in range(5)] + [shop.send("").status_code]
    spent = time.perf_counter() - started
    assert answers == [202] * 5 + [422]
    requests, observed, seconds = (now - then for now, then in zip(measured(), before, strict=True))
    assert (requests, observed) == (6, 6)
    assert 0 < seconds < spent


def test_what_waits_is_sent_when_a_role_ends(bazaar: Platform, tmp_path: Path) -> None:
    trace_id, headers = traced()
    with faulty_gateway(bazaar, tmp_path, "") as shop:
        assert shop.send("Hello", headers=headers).status_code == 202
    spans = bazaar.traces.trace(trace_id, lambda seen: "POST /v1/messages" in names(seen), seconds=0)
    assert "POST /v1/messages" in names(spans)
    query = {"trace_id": trace_id, "contains": "POST /v1/messages"}
    assert httpx.get(f"{bazaar.urls['logsink']}/logs", params=query).json()["lines"]


def test_planted_errors_are_not_counted(bazaar: Platform, tmp_path: Path) -> None:
    with faulty_gateway(bazaar, tmp_path, "errors_not_counted") as shop:
        assert [shop.send("").status_code, shop.send("Hello").status_code] == [422, 202]
        assert count(shop.http.get("/metrics").text, "http_requests_total", **MESSAGES) == 1


def test_planted_milliseconds(bazaar: Platform, tmp_path: Path) -> None:
    with faulty_gateway(bazaar, tmp_path, "milliseconds_histogram") as shop:
        started = time.perf_counter()
        shop.send("Hello")
        spent = time.perf_counter() - started
        assert count(shop.http.get("/metrics").text, "http_request_duration_seconds_sum", **MESSAGES) > spent


def test_planted_loss_of_the_trace(bazaar: Platform, tmp_path: Path) -> None:
    trace_id, headers = traced()
    with faulty_gateway(bazaar, tmp_path, "traceparent_dropped") as shop:
        assert shop.say("Hello", headers=headers)["state"] == "done"
        spans = bazaar.traces.trace(trace_id, lambda seen: "tasks send" in names(seen))
    assert {seen.role for seen in spans} == {"gateway"}
