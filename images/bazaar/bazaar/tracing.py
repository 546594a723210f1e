"""Trace context (W3C `traceparent`), carried by hand through HTTP and NATS until spans are exported."""

import re
import secrets

HEADER = "traceparent"
_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def continue_or_start(traceparent: str | None) -> str:
    """The caller's trace context if it is well formed, else a new one."""
    if traceparent and _FORM.fullmatch(traceparent):
        return traceparent
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id(traceparent: str | None) -> str:
    """The trace id (32 hex digits), or "" where there is none."""
    form = _FORM.fullmatch(traceparent or "")
    return form[1] if form else ""
