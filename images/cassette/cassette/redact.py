"""What must not be stored: keys, passwords, e-mail addresses and card numbers, replaced by stable placeholders.

A placeholder tells the kind and a number in the order of appearance, and nothing of the secret, so cassettes may be
committed. The numbers of a request hold for its answer too, so a replay can put the caller's own values back.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

# Where a word begins: also after an escape such as \\n, because texts may be JSON within JSON.
_BEGIN = r"(?:(?<![\w\\.+-])|(?<=\\)(?![nrtbfu])|(?<=\\[nrtbf])|(?<=\\u[\da-fA-F]{4}))"
_MIXED = r"(?=[\w-]{0,256}\d)(?=[\w-]{0,256}[a-z])(?=[\w-]{0,256}[A-Z])"
# All repetitions are bounded and begin where a word does, so the time is linear in the text.
_SECRET = re.compile(
    rf"{_BEGIN}(?:(?P<email>[\w.+-]{{1,64}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}})"
    r"|[Bb]earer\s{1,8}(?P<bearer>(?!<<)[\w.~+/=-]{8,4096})"
    r"|(?i:password|passwd|passphrase|secret|api[_-]?key|access[_-]?token)[\\\"']{0,4}\s{0,8}[:=]\s{0,8}[\\\"']{0,4}"
    r"(?P<secret>(?!<<)[^\s\"'\\,;}{]{4,256})"
    r"|(?P<jwt>eyJ[\w-]{8,4096}\.[\w-]{4,4096}\.[\w-]{4,4096})"
    r"|(?P<key>(?:(?:sk|pk|rk|gh[opsru]|glpat|xox[abeprs])[-_]|AKIA|ASIA|AIza)(?=[\w-]{0,64}\d)[\w-]{12,256}"
    rf"|{_MIXED}[\w-]{{40,256}}"
    r"|(?=[a-z]{0,64}\d)(?=\d{0,64}[a-z])[a-z\d]{32,256}(?![\w-])))"
    r"|(?<!\d)(?P<card>\d(?:[ -]?\d){12,18})(?!\d)"
    r"|(?P<pem>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{1,10000}-----END [A-Z ]{0,30}PRIVATE KEY-----)"
)
_SECRET_NAME = re.compile(r"(?i)password|passwd|passphrase|secret|api[_-]?key|access[_-]?token|authorization")


class Redactor:
    """Replaces the secrets of one request and its answer."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def value(self, value: Any) -> Any:
        """A JSON value without the secrets in its strings and under names such as `password`."""
        if isinstance(value, str):
            return self.parts([value])[0]
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.value(name): self._member(name, value[name]) for name in sorted(value)}
        return value

    def parts(self, parts: Iterable[str]) -> list[str]:
        """The parts of one text without its secrets, those that go over several parts too.

        The placeholder is where the secret began, and there are as many parts as before.
        """
        texts = list(parts)
        ends, whole = list(accumulate(map(len, texts))), "".join(texts)
        out: list[list[str]] = [[] for _ in texts]

        def keep(start: int, end: int) -> None:
            index = bisect_right(ends, start)
            while start < end:
                out[index].append(whole[start : min(end, ends[index])])
                start, index = ends[index], index + 1

        done = 0
        for match in _SECRET.finditer(whole):
            kind = str(match.lastgroup)
            if kind == "card" and not _is_card(match[kind]):
                continue
            start, end = match.span(kind)
            keep(done, start)
            out[bisect_right(ends, start)].append(self._placeholder(match[kind], kind))
            done = end
        keep(done, len(whole))
        return ["".join(pieces) for pieces in out]

    def restore(self, text: str) -> str:
        """A JSON text with the secrets that this redactor has replaced."""
        for secret, placeholder in self._known.items():
            text = text.replace(placeholder, json.dumps(secret, ensure_ascii=False)[1:-1])
        return text

    def _member(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and _SECRET_NAME.search(name) and not value.startswith("<<"):
            return self._placeholder(value, "secret")
        return self.value(value)

    def _placeholder(self, secret: str, kind: str) -> str:
        if secret not in self._known:
            self._counts[kind] += 1
            self._known[secret] = f"<<{kind}-{self._counts[kind]}>>"
        return self._known[secret]


def _is_card(text: str) -> bool:
    """Whether the check digit is right (Luhn, ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in reversed(text) if digit.isdigit()]
    return sum(sum(divmod(digit * (1 + place % 2), 10)) for place, digit in enumerate(digits)) % 10 == 0
