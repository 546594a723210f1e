"""Fields that a user wrote and the API server dropped.

Strict clients are refused at once. The rest (Helm, Argo CD, a bare POST) lose unknown fields silently; where the client
left its own copy in the last-applied annotation, the loss can be seen and must not pass for the default.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from proctor.api import names


def dropped(annotations: Mapping[str, str], stored: Mapping[str, Any]) -> list[str]:
    """Return the paths below spec that last-applied has and `stored` (the stored spec) lacks."""
    text = annotations.get(names.ANNOTATION_LAST_APPLIED)
    if not text:
        return []
    try:
        applied = json.loads(text).get("spec")
    except (ValueError, AttributeError):
        return []
    return sorted(_missing(applied, stored, "spec"))


def _missing(applied: Any, stored: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(applied, Mapping) and isinstance(stored, Mapping):
        for key, value in applied.items():
            if value is None:
                continue
            if key not in stored:
                found.append(f"{path}.{key}")
            else:
                found += _missing(value, stored[key], f"{path}.{key}")
    elif _is_list(applied) and _is_list(stored) and len(applied) == len(stored):
        for index, (before, after) in enumerate(zip(applied, stored, strict=True)):
            found += _missing(before, after, f"{path}[{index}]")
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
