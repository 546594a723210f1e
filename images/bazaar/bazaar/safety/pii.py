"""Personal data in text: found, classified, weighed, and taken out before anything is stored or logged.

Patterns propose, checksums decide where there are any: Luhn (ISO/IEC 7812-1) for cards, ISO 7064 mod 97-10 with each
country's structure for IBANs. What looks like the shop's own numbers (1001-1, TR1001-1, tok_ok, prices, dates) is none.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Literal

from prometheus_client import Counter
from stdnum import ean, iban, luhn

from bazaar.faults import fault

Type = Literal["email", "iban", "card", "ssn", "ip", "phone"]
REDACTIONS = Counter("pii_redactions_total", "Pieces of personal data taken out of what is kept.", ["type"])

_WEIGHTS: dict[Type, float] = {"ssn": 0.9, "card": 0.9, "iban": 0.8, "email": 0.5, "phone": 0.5, "ip": 0.3}
"""The harm of each type when it gets out, as the chance that it matters."""

# Where a number begins: not inside a word or another number. Escaped line ends stand in logs and in JSON.
_BEGIN = r"(?:(?<![\w.+/-])|(?<=\\[nrt]))"
_EMAIL = re.compile(r"(?:(?<=\\[nrt])|(?<![\\\w.%+'-]))[\w.%+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,63}")
# A country, two check digits and the account; how long it is, only the country knows.
_IBAN = re.compile(_BEGIN + r"[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE)
# Issuers' first digits: Maestro 0604 and 5/6, JCB 1800/2131/35, Mastercard 2/5, Amex and Diners 3, Visa 4, Discover 6.
_CARD = re.compile(_BEGIN + r"(?=0604|1800|2131|2[2-7]|[3-6])\d{4}(?:[ -]?\d){8,15}(?!\w|[.-]\d)")
_SSN = re.compile(_BEGIN + r"(?!000|666)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
_BARE_SSN = re.compile(r"(?:ssn|social security)[^\d\n]{0,25}(\d{9})(?!\w)", re.IGNORECASE)
_IPV4 = re.compile(_BEGIN + r"\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6 = re.compile(
    r"(?:(?<![\w:.])|(?<=\\[nrt]))(?=[\da-f]*:[\da-f]*:)[\da-f:]{2,39}(?:\d+(?:\.\d{1,3}){3})?(?![\w:])", re.IGNORECASE
)
_PHONE = re.compile(
    _BEGIN + r"(?:"
    r"(?:\+|00)[1-9]\d{0,3}(?:[ .-]?\(0\))?(?:[ ./-]?(?:\(\d{1,14}\)|\d{1,14})){1,7}"  # abroad, +41 (0)44 123 45 67
    r"|\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}|\d{2,4}-\d{7,8}"  # ten digits as in North America, (555) 123-4567
    r"|\(?0\d{2,4}\)?[ /-]?(?:\d{5,8}|\d{3,4}(?:[ -]\d{2,6}){1,3})"  # with a trunk zero, (07700) 900 123
    r"|\(\d{1,5}\) ?\d{3,4}[ -]?\d{3,4}"  # an area in parentheses, (24) 123-456
    # Three groups or more with one separator, 612 345 678 or 01.23.45.67.89; no date and no 10.000.000
    r"|(?!\d{4}[ .-]\d\d?[ .-]\d\d?(?!\d)|\d\d?[ .-]\d\d?[ .-](?:19|20)\d\d(?!\d)|\d{1,3}(?:\.\d{3})+(?!\d))"
    r"\d{1,5}([ .-])\d{2,4}(?:\1\d{2,4}){1,4}"
    r")(?: ?(?:x|ext\.?) ?\d{2,5})?(?!\w|[.-]\d)"
)
# What no pattern can tell from other numbers is one beside a word that says so; an order's number or a price is none.
_SHORT = r"(?!\d{4,10}-\d{1,6}(?![\d-])|\d+\.\d\d(?![\d.]))\(?\d{1,5}\)?(?:[ ./-]?\d{2,8}){1,4}(?!\w|[.,-]\d)"
_NAMED_PHONE = re.compile(
    r"(?:phone|tel|mobile|cell|fax|desk|office|whatsapp|sms|call|reach|contact|registered|answering at"
    rf"|messages to)\b\D{{0,30}}(?P<after>{_SHORT})|{_BEGIN}(?P<before>{_SHORT})[ -](?:office|fax|mobile|cell)\b",
    re.IGNORECASE,
)
_FEWEST_DIGITS = 4
"""An IPv4 address has 4, all others more."""
_SUSPECT = re.compile(r"[\d@:]")
"""All personal data begins within the word in which the first of these is, at most _LONGEST characters before it."""
_LONGEST = 64
_UNSPECIFIED = IPv6Address("::")
_DIGITS_OF_PHONE = range(8, 21)
"""ITU-T E.164 allows 15; a trunk zero and an extension may come on top."""


@dataclass(frozen=True)
class Span:
    """A piece of personal data: its place in the text, and how sure that is (0..1)."""

    type: Type
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Inspection:
    """What a text holds. `risk` (0..1) is the chance that at least one of the spans does harm."""

    spans: list[Span]
    risk: float
    redacted: str


def inspect(text: str) -> Inspection:
    """Find the personal data in a text; spans are in order and do not overlap."""
    spans: list[Span] = []
    for found in _proposals(text):
        if all(found.end <= other.start or found.start >= other.end for other in spans):
            spans.append(found)
    spans.sort(key=lambda span: span.start)
    harmless = math.prod(1 - _WEIGHTS[span.type] * span.score for span in spans)
    redacted = text
    for span in reversed(spans):
        redacted = f"{redacted[: span.start]}[{span.type}]{redacted[span.end :]}"
    return Inspection(spans, 1 - harmless, redacted)


def redact(text: str) -> str:
    """A text as it may be stored or logged; what is taken out is counted."""
    found = inspect(text)
    for span in found.spans:
        REDACTIONS.labels(span.type).inc()
    return found.redacted


def redact_answer(text: str) -> str:
    """What the shop says to a customer, redacted like what the customer says: documents may hold personal data too."""
    return redact(text) if fault("pii_skips_replies") is None else text


class Redactor:
    """Redacts a text that comes in parts.

    What is told cannot be taken back, so only a harmless beginning is told early: from the word with the first digit,
    @ or colon on, everything waits for the end, when the text can be judged as a whole.
    """

    def __init__(self) -> None:
        self._text, self._looked, self._told = "", 0, 0
        self._suspected = False

    def take(self, part: str) -> str:
        """Add a part; gives what can be told now."""
        self._text += part
        if self._suspected:
            return ""
        suspect = _SUSPECT.search(self._text, self._looked)
        self._suspected = suspect is not None
        self._looked = suspect.start() if suspect else len(self._text)
        told = self._told
        # The word before may belong to it, or to what comes; of a longer one, only its end.
        word = self._text.rfind(" ", told, self._looked) + 1
        self._told = max(word, self._looked - _LONGEST, told)
        return self._text[told : self._told]

    def rest(self) -> str:
        """What is left at the end of the text."""
        whole = inspect(self._text).redacted if self._suspected else self._text
        told, self._told = self._told, len(whole)
        return whole[told:]


def _proposals(text: str) -> Iterator[Span]:
    """All that may be personal data, the surest kinds first."""
    if "@" in text:
        yield from (Span("email", *m.span(), 0.99) for m in _EMAIL.finditer(text))
    if ":" in text:
        yield from (Span("ip", *m.span(), 0.9) for m in _IPV6.finditer(text) if _is_address(m[0]))
    digits = sum(map(str.isdigit, text))
    if digits < _FEWEST_DIGITS:
        return
    for match in _IBAN.finditer(text):
        end = _end_of_iban(match)
        if end:
            yield Span("iban", match.start(), end, 0.99)
    yield from (Span("card", *m.span(), 0.95) for m in _CARD.finditer(text) if luhn.is_valid(re.sub(r"\D", "", m[0])))
    yield from (Span("ssn", *m.span(), 0.9) for m in _SSN.finditer(text))
    yield from (Span("ssn", *m.span(1), 0.8) for m in _BARE_SSN.finditer(text))
    yield from (Span("ip", *m.span(), 0.9) for m in _IPV4.finditer(text) if _is_address(m[0]))
    for match in _PHONE.finditer(text):
        if sum(map(str.isdigit, match[0])) in _DIGITS_OF_PHONE and not _is_barcode(match[0]):
            yield Span("phone", *match.span(), 0.6 if match[0].isdigit() else 0.85)
    for match in _NAMED_PHONE.finditer(text):
        place = "after" if match["after"] else "before"
        if sum(map(str.isdigit, match[place])) >= 6:
            yield Span("phone", *match.span(place), 0.7)


def _is_barcode(text: str) -> bool:
    """Whether it is the number of an article (EAN-13), unless it begins like a call abroad."""
    return len(text) == 13 and not text.startswith("00") and ean.is_valid(text)


def _is_address(text: str) -> bool:
    try:
        return ip_address(text) != _UNSPECIFIED  # :: is punctuation more often than an address
    except ValueError:
        return False


def _end_of_iban(match: re.Match[str]) -> int | None:
    """Where the IBAN ends that begins with the match, which may have swallowed words behind it."""
    places = [match.start() + at for at, character in enumerate(match[0]) if character.isalnum()]
    compact = iban.compact(match[0])
    for length in range(15, len(compact) + 1):
        if iban.is_valid(compact[:length], check_country=False):
            return places[length - 1] + 1
    return None
