"""Cron with time zones. cronsim knows the calendar; `now` and the last time come in as arguments."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from proctor.api import names
from proctor.core.errors import InvalidSpec

FIELDS = 5
"""cronsim takes a sixth, seconds; a run a second is no schedule."""
LOOK_BACK = timedelta(days=7)
MAX_MISSED = 20000
"""More missed times than minutes in LOOK_BACK cannot be."""


def check(expression: str, time_zone: str) -> None:
    """Raise InvalidSpec unless both make sense."""
    try:
        ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidSpec(names.INVALID_SPEC, f"spec.run.timeZone: {time_zone!r} is not an IANA time zone") from None
    if len(expression.split()) != FIELDS:
        text = f"spec.run.schedule: {expression!r}: give {FIELDS} fields, minute hour day month weekday"
        raise InvalidSpec(names.INVALID_SPEC, text)
    try:
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        text = str(error) or "it never comes true"
        raise InvalidSpec(names.INVALID_SPEC, f"spec.run.schedule: {expression!r}: {text}") from None


def next_after(expression: str, time_zone: str, now: datetime) -> datetime:
    """Return the first time after `now`, in UTC."""
    upcoming: datetime = next(CronSim(expression, now.astimezone(ZoneInfo(time_zone))))
    return upcoming.astimezone(UTC)


def latest_due(expression: str, time_zone: str, since: datetime, now: datetime) -> datetime | None:
    """Return the latest time in (since, now], in UTC, or None: times missed while nobody looked make one run."""
    start = max(since, now - LOOK_BACK)
    latest = None
    for _, at in zip(range(MAX_MISSED), CronSim(expression, start.astimezone(ZoneInfo(time_zone))), strict=False):
        if at > now:
            break
        latest = at.astimezone(UTC)
    return latest
