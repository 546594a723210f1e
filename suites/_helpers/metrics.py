"""Counters of single pods, as they tell them to Prometheus."""

import re
from collections import defaultdict
from collections.abc import Iterable

import httpx

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? ([-+.\w]+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
STARTED = "process_start_time_seconds"

Series = tuple[str, frozenset[tuple[str, str]]]


class Restarted(Exception):
    """A process began anew, so its counters do not tell what was counted before."""


class Counters:
    """The counters of some processes, added up; all that counts is how they grow."""

    def __init__(self, urls: Iterable[str]) -> None:
        """`urls` are the base URLs of the processes. Raises RuntimeError if one does not tell its metrics."""
        self._urls = list(urls)
        self._before = {url: _scrape(url) for url in self._urls}

    def growth(self, name: str, **labels: str) -> float:
        """How much all series of a name with these labels have grown. Raises Restarted, or RuntimeError as above."""
        wanted, total = frozenset(labels.items()), 0.0
        for url in self._urls:
            before, now = self._before[url], _scrape(url)
            started = (STARTED, frozenset[tuple[str, str]]())
            if before[started] != now[started]:
                raise Restarted(f"a process at {url} began anew while it was looked at")
            total += sum(now[s] - before[s] for s in now if s[0] == name and wanted <= s[1])
        return total


def _scrape(url: str) -> defaultdict[Series, float]:
    answer = httpx.get(f"{url}/metrics", timeout=10)
    if answer.status_code != 200:
        raise RuntimeError(f"GET {url}/metrics gave {answer.status_code}, expected 200")
    found: defaultdict[Series, float] = defaultdict(float)
    for line in answer.text.splitlines():
        if not line.startswith("#") and (sample := _SAMPLE.fullmatch(line)):
            found[sample[1], frozenset(_LABEL.findall(sample[2] or ""))] = float(sample[3])
    return found
