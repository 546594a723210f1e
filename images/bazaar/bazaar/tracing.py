"""Traces: one context (W3C traceparent and baggage) through HTTP, NATS and the outbox, and one way to make a span.

Spans are exported to BAZAAR_OTLP_URL where it is set; without it the context still travels, so that every call of one
message carries one trace id.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from bazaar.faults import fault

Attributes = Mapping[str, str | int | float | bool]
EXPORT_MILLISECONDS = 1000
QUEUE = 8192
"""Spans that wait for their export; beyond it new ones are dropped, and the process goes on."""

_TRACER = trace.get_tracer("bazaar")


def resource(role: str) -> Resource:
    """Who speaks, as spans and logs say it (OpenTelemetry resource conventions)."""
    return Resource.create(
        {"service.name": role, "service.namespace": "bazaar", "service.instance.id": socket.gethostname()}
    )


def configure(role: str, otlp_url: str | None) -> None:
    """Make every span of this process one of `role`, and send them to an OTLP/HTTP endpoint if there is one.

    What waits is sent when the process exits.
    """
    provider = TracerProvider(resource=resource(role))
    if otlp_url:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(f"{otlp_url.rstrip('/')}/v1/traces")
        provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE, schedule_delay_millis=EXPORT_MILLISECONDS)
        )
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None) -> Iterator[Span]:
    """A span around a block. An exception that leaves the block makes it ERROR with `error.type`, its class's name."""
    current = _TRACER.start_span(name, kind=kind, attributes=attributes)
    token = context.attach(trace.set_span_in_context(current))
    try:
        yield current
    except Exception as error:
        failed(current, type(error).__name__)
        raise
    finally:
        context.detach(token)
        current.end()


@contextmanager
def leaf(name: str, errors: type[Exception]) -> Iterator[dict[str, str]]:
    """A CLIENT span around a block, with the attributes that the block gives it; only `errors` are its own.

    What the block sends is no child of it. It is made within a trace only: a probe or a sweep that no message caused
    would be a trace of its own.
    """
    attributes: dict[str, str] = {}
    if not trace_id():
        yield attributes
        return
    current = _TRACER.start_span(name, kind=SpanKind.CLIENT)
    try:
        yield attributes
    except errors as error:
        failed(current, type(error).__name__)
        raise
    finally:
        current.set_attributes(attributes)
        current.end()


def failed(current: Span, error_type: str) -> None:
    """Mark a span as ERROR. The text of an exception may hold what must not be stored, so only its kind is."""
    if fault("span_error_swallowed") is not None:
        return
    current.set_attribute("error.type", error_type)
    current.set_status(Status(StatusCode.ERROR))


def headers() -> dict[str, str]:
    """The current context as headers of a request or a message."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


@contextmanager
def continued(carrier: Mapping[str, str] | None) -> Iterator[None]:
    """Go on in the context that headers carry; where they carry none, in a new trace."""
    lower = {name.lower(): value for name, value in (carrier or {}).items()}
    token = context.attach(propagate.extract(lower, context.Context()))
    try:
        yield
    finally:
        context.detach(token)


def trace_id() -> str:
    """The id of the current trace (32 hex digits), or "" outside of any."""
    current = trace.get_current_span().get_span_context()
    return trace.format_trace_id(current.trace_id) if current.is_valid else ""
