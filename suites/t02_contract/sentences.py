"""Sentences of customers with personal data in them, labelled, and shop talk with none.

The values are Faker's, in the forms in which people write them; the sentences are this suite's own. Nothing here looks
at how the platform finds anything.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faker import Faker
from t02_contract.talk import ABOUT, ANY, CLEAN

TYPES = ("email", "card", "ssn", "ip", "iban", "phone")
_PHONES = {
    "en_US": (
        "(###) ###-####",
        "###-###-####",
        "+1 ### ### ####",
        "1-###-###-####",
        "###.###.####",
        "+1 (###) ###-####",
    ),
    "en_GB": (
        "07### ######",
        "+44 7### ######",
        "020 #### ####",
        "+44 20 #### ####",
        "0### ### ####",
        "(01###) ######",
    ),
    "de_DE": (
        "0### #######",
        "+49 ### #######",
        "0###/#######",
        "+49 (0)### #######",
        "030 ########",
        "0049 ### ######",
    ),
    "fr_FR": ("06 ## ## ## ##", "+33 6 ## ## ## ##", "01.##.##.##.##", "0033 6 ## ## ## ##", "+33 (0)1 ## ## ## ##"),
    "es_ES": ("+34 6## ### ###", "6## ## ## ##", "+34 9## ## ## ##", "6## ### ###"),
    "it_IT": ("+39 3## #######", "3## ### ####", "06 #### ####", "+39 06 ########"),
    "nl_NL": ("06-########", "+31 6 ########", "020-#######", "+31 20 ### ####"),
    "pl_PL": ("+48 ### ### ###", "### ### ###", "+48#########", "22 ### ## ##"),
}
"""How numbers are written by country; # is a digit that is not zero."""


@dataclass(frozen=True)
class Labelled:
    """A text and the personal data in it: (type, start, end) each."""

    text: str
    spans: tuple[tuple[str, int, int], ...]


class Writer:
    """Writes sentences; all that it writes follows from its seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._faker = {locale: Faker(locale) for locale in _PHONES}
        for locale in sorted(_PHONES):
            self._faker[locale].seed_instance(self._random.getrandbits(32))

    def sentences(self, kind: str, count: int) -> Iterator[Labelled]:
        """Sentences with one value of the type, or with a second one of another type."""
        for _ in range(count):
            yield self._sentence(kind)

    def value(self, kind: str) -> str:
        """A value of the type, as somebody might write it."""
        makers: dict[str, Callable[[], str]] = {
            "email": self._email,
            "card": self._card,
            "ssn": self._ssn,
            "ip": self._ip,
            "iban": self._iban,
            "phone": self._phone,
        }
        return makers[kind]()

    def clean(self) -> str:
        """Shop talk without personal data, full of numbers."""
        r = self._random
        return r.choice(CLEAN).format(
            order=f"{r.randint(1000, 9999)}-{r.randint(1, 40)}",
            n=r.randint(2, 60),
            m=r.randint(2, 990),
            price=f"{r.randint(1, 1999)}.{r.randint(0, 99):02}",
            thousands=f"{r.randint(1, 40)},{r.randint(0, 999):03}.{r.randint(0, 99):02}",
            date=r.choice(["2026-{m:02}-{d:02}", "{d:02}.{m:02}.2026", "{m}/{d}/2026", "{d} May 2026"]).format(
                d=r.randint(1, 28), m=r.randint(1, 12)
            ),
            time=f"{r.randint(0, 23):02}:{r.randint(0, 59):02}",
            sku=r.choice(["mug-blue", "mug", "lamp", f"cup-{r.randint(10, 999)}", f"KX{r.randint(100, 99999)}"]),
            token=r.choice(["tok_visa", "tok_declined", f"tok_{r.randint(10**7, 10**9)}"]),
            zip=r.choice(["10115 Berlin", "SW1A 1AA", "90210", "75008 Paris", "1010 Wien"]),
            uuid=f"{r.getrandbits(32):08x}-{r.getrandbits(16):04x}-4{r.getrandbits(12):03x}-a{r.getrandbits(12):03x}"
            f"-{r.getrandbits(48):012x}",
            ean=self._faker["en_US"].ean13(),
            word=r.choice(["mug", "lamp", "cup", "shelf", "parcel", "invoice"]),
        )

    def _sentence(self, kind: str) -> Labelled:
        text, spans = "", []
        template = self._random.choice([*ANY, *ABOUT[kind]])
        kinds = [kind, self._random.choice([other for other in TYPES if other != kind])]
        pieces = template.split("{}")
        for piece, named in zip(pieces, [*kinds[: len(pieces) - 1], None], strict=True):
            text += piece
            if named:
                value = self.value(named)
                spans.append((named, len(text), len(text) + len(value)))
                text += value
        return Labelled(text, tuple(spans))

    def _any(self) -> Faker:
        return self._faker[self._random.choice(sorted(_PHONES))]

    def _email(self) -> str:
        faker, number = self._any(), self._random.randint(1, 99)
        name, host = faker.ascii_email().split("@")
        forms = (f"{name}@{host}", f"{name}+shop@{host}", f"{name}{number}@mail.{host}", f"{name.upper()}@{host}")
        return self._random.choice([*forms, faker.ascii_company_email(), faker.ascii_safe_email()])

    def _card(self) -> str:
        kind = self._random.choice(["visa16", "mastercard", "amex", "discover", "jcb16"])
        digits = self._faker["en_US"].credit_card_number(kind)
        groups = (4, 6, 5) if kind == "amex" else (4, 4, 4, 4)
        return self._grouped(digits, groups, ["", "", " ", "-"])

    def _ssn(self) -> str:
        return self._grouped(self._faker["en_US"].ssn().replace("-", ""), (3, 2, 4), ["-", "-", " "])

    def _ip(self) -> str:
        faker = self._faker["en_US"]
        return self._random.choice([faker.ipv4_public, faker.ipv4_private, faker.ipv6])()

    def _iban(self) -> str:
        iban = self._any_with_iban().iban()
        groups = [4] * (len(iban) // 4) + ([len(iban) % 4] if len(iban) % 4 else [])
        return self._grouped(iban, groups, ["", " "])

    def _any_with_iban(self) -> Faker:
        return self._faker[self._random.choice([locale for locale in sorted(_PHONES) if locale != "en_US"])]

    def _phone(self) -> str:
        form = self._random.choice(_PHONES[self._random.choice(sorted(_PHONES))])
        return "".join(str(self._random.randint(2, 9)) if c == "#" else c for c in form)

    def _grouped(self, digits: str, groups: tuple[int, ...] | list[int], separators: list[str]) -> str:
        parts, at = [], 0
        for length in groups:
            parts.append(digits[at : at + length])
            at += length
        return self._random.choice(separators).join(parts)
