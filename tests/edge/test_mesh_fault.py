"""What Chaos Mesh says of its objects, as it was seen to say it, and what Proctor makes of that."""

from typing import Any

import pytest

from proctor.edge.targets import mesh_fault

CUT = "mesh-try/web-7795cbf59c-r2lmj"
APPLIED = {"operation": "Apply", "timestamp": "2026-11-24T15:58:08Z", "type": "Succeeded"}
RECOVERED = {"operation": "Recover", "timestamp": "2026-11-24T15:58:14Z", "type": "Succeeded"}
FAILED = {"message": "pod not running", "operation": "Apply", "timestamp": "2026-11-24T15:59:02Z", "type": "Failed"}


def _object(true: str, *records: dict[str, Any]) -> dict[str, Any]:
    kinds = ("AllInjected", "AllRecovered", "Paused", "Selected")
    conditions = [{"type": kind, "status": "True" if kind in true.split() else "False"} for kind in kinds]
    status = {"conditions": conditions, "experiment": {"containerRecords": list(records), "desiredPhase": "Run"}}
    return {"metadata": {"name": "fault"}, "status": status}


def _record(phase: str, injected: int, recovered: int, *events: dict[str, Any]) -> dict[str, Any]:
    counts = {"injectedCount": injected, "recoveredCount": recovered}
    return {"id": CUT, "phase": phase, "selectorKey": ".", "events": list(events), **counts}


STATES: dict[str, tuple[dict[str, Any], tuple[bool, bool]]] = {
    "created": ({"metadata": {"name": "fault"}}, (False, False)),
    "selected": (_object("Selected", _record("Not Injected/Wait", 0, 0)), (False, False)),
    "not begun": (_object("Selected AllRecovered", _record("Not Injected", 0, 0)), (False, False)),
    "on": (_object("Selected AllInjected", _record("Injected", 1, 0, APPLIED)), (True, False)),
    "ending": (_object("Selected", _record("Injected/Wait", 1, 0, APPLIED)), (True, False)),
    "over": (_object("Selected AllRecovered", _record("Not Injected", 1, 1, APPLIED, RECOVERED)), (True, True)),
    "one of two": (
        _object("Selected", _record("Injected", 1, 0, APPLIED), _record("Not Injected", 0, 0)),
        (False, False),
    ),
}


@pytest.mark.parametrize(("raw", "expected"), STATES.values(), ids=STATES)
def test_state_of_an_object(raw: dict[str, Any], expected: tuple[bool, bool]) -> None:
    fault = mesh_fault(raw)
    assert (fault.injected, fault.recovered) == expected


def test_its_last_complaint_is_told() -> None:
    assert mesh_fault(_object("Selected", _record("Not Injected", 0, 0, FAILED, FAILED))).message == "pod not running"
