"""The closed catalog of what the suites assert, and the one way to assert it.

A failing test names exactly one property. Its first line is read far from here, in a status field or a table of planted
faults, so it says what was seen and what was expected.
"""

from enum import StrEnum


class Property(StrEnum):
    """What must hold of a platform. Values are stable: fault cards and reports refer to them."""

    EPISODE_ENDS = "episode-ends"
    """Every accepted message comes to an end, and the end is `done`."""
    ROUTE = "route"
    """A message reaches the agent that is meant for it."""
    GOAL_STATE = "goal-state"
    """After a journey the database holds what the journey was for, and nothing else has changed."""
    EFFECT_ALLOWED = "effect-allowed"
    """A journey has only effects that it may have."""
    EFFECT_ONCE = "effect-once"
    """One Idempotency-Key has at most one effect, however often it is sent."""
    IDEMPOTENCY_CONFLICT = "idempotency-conflict"
    """An Idempotency-Key that comes back with another body is refused and changes nothing."""
    IDEMPOTENCY_SCOPE = "idempotency-scope"
    """An Idempotency-Key belongs to one user: another's equal key is another key."""
    ANSWER = "answer"
    """What the customer is told is what the database holds."""
    USER_READ = "user-read"
    """A user is shown nothing of another user of the tenant."""
    TENANT_READ = "tenant-read"
    """A user is shown nothing of another tenant."""
    PII_MESSAGE = "pii-message"
    """Personal data in what a customer writes is redacted before it is stored, sent on or logged."""
    PII_ANSWER = "pii-answer"
    """Personal data in what the shop answers is redacted, wherever the answer comes from."""
    PII_ERROR = "pii-error"
    """An answer that refuses a request repeats no personal data of it."""
    AUDIT_CHAIN = "audit-chain"
    """The audit chain of a tenant verifies over all of every entry, and agrees with its published heads."""
    AUDIT_COMPLETE = "audit-complete"
    """What is done to a tenant has an entry in its audit chain, also after the tenant is gone."""
    AUTHENTICATION = "authentication"
    """Without a valid key nothing is served and nothing is done."""
    TOKENS_COUNTED = "tokens-counted"
    """The tokens that the platform counts are those in the model's ledger."""
    STREAM_WHOLE = "stream-whole"
    """The parts of a streamed answer make up the whole answer."""
    LEDGER_BALANCE = "ledger-balance"
    """Debits and credits are equal."""
    TRACE_COMPLETE = "trace-complete"
    """Everything that a message causes is one trace with one root."""
    SPAN_ERROR = "span-error"
    """The span of failed work has the status ERROR and `error.type`."""
    METRIC_COUNT = "metric-count"
    """Counters say how often something happened, errors included."""
    METRIC_DURATION = "metric-duration"
    """Histograms of durations are in seconds, and their sum is the time that was spent."""
    ACCEPTED_THEN_LOST = "accepted-then-lost"
    """What was accepted comes to an end, whatever dies."""
    DEAD_LETTER_KEPT = "dead-letter-kept"
    """A task that no worker can finish is in the DLQ, though its handler was down."""
    REQUEUE_ONCE = "requeue-once"
    """A dead letter goes back to the queue once, however often that is asked."""
    FRAMES_CONTIGUOUS = "frames-contiguous"
    """The frames of a conversation are numbered without gap, repetition or disorder."""
    REPLAY_EXACT = "replay-exact"
    """A replay computes each step again, equal to the record, and names the step at which a changed record differs."""
    READINESS = "readiness"
    """A pod that cannot serve says that it is not ready, and is sent nothing."""
    NETWORK_CLOSED = "network-closed"
    """Only who needs a server of the platform may reach it."""


def check(holds: bool, prop: Property, message: str) -> None:
    """Fail the test unless `holds`. `message` is one line: what was seen and what was expected."""
    __tracebackhide__ = True
    if not holds:
        raise AssertionError(f"{prop}: {message}")
