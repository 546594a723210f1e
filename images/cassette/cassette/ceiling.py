"""The ceilings of LIVE_SMOKE: real calls cost money, so their number and tokens are counted on disk, over restarts."""

from pathlib import Path

from pydantic import BaseModel

from cassette.problems import Problem
from cassette.store import replace_file


class Spent(BaseModel):
    """What was spent since the last reset."""

    calls: int = 0
    tokens: int = 0


class Ceiling:
    """Counts live calls. One that has begun may end, so tokens may pass the ceiling by what is in flight."""

    def __init__(self, path: Path, max_calls: int, max_tokens: int) -> None:
        self._path, self._max_calls, self._max_tokens = path, max_calls, max_tokens
        self.spent = Spent.model_validate_json(path.read_bytes()) if path.exists() else Spent()

    def take(self) -> None:
        """Count one call before it is made. Raises Problem when a ceiling is reached."""
        if self.spent.calls >= self._max_calls or self.spent.tokens >= self._max_tokens:
            raise Problem("ceiling-reached", "the live calls or tokens are spent", **self.told())
        self._store(Spent(calls=self.spent.calls + 1, tokens=self.spent.tokens))

    def spend(self, tokens: int) -> None:
        """Count what a call cost."""
        self._store(Spent(calls=self.spent.calls, tokens=self.spent.tokens + tokens))

    def told(self) -> dict[str, int]:
        """What is spent, and the ceilings."""
        return {**self.spent.model_dump(), "max_calls": self._max_calls, "max_tokens": self._max_tokens}

    def reset(self) -> None:
        """Begin again."""
        self._store(Spent())

    def _store(self, spent: Spent) -> None:
        replace_file(self._path, spent.model_dump_json())
        self.spent = spent
