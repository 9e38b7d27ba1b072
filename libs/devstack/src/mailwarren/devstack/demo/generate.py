"""Writes ``recipients.csv``: ``python -m mailwarren.devstack.demo.generate``, with the development dependencies.

Seeded: the same Faker writes the same file. Nothing of this is needed to run the demo.
"""

import csv
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random

from mailwarren.devstack.demo.people import AWKWARD, COUNTRIES, Country
from mailwarren.devstack.demo.recipients import COLUMNS, FILE
from mailwarren.devstack.demo.roster import PROVIDERS, SEED, WRONG, Slot, Wrong, expires_in, slots

_PLANS = {"free": 0, "team": 29, "pro": 99}
_FIRST_RENEWAL = date(2026, 3, 1)
_NAMELESS = 0.01
"""Share of people whose first name nobody knows: the template has a word for them."""
_LONGEST_USER = 32


class _People:
    """Draws people, and an address that nobody has had before."""

    def __init__(self, rng: Random) -> None:
        from faker import Faker

        self._rng = rng
        self._taken: set[str] = set()
        self._fakers: dict[str, Faker] = {}
        for country in COUNTRIES:
            self._fakers[country.locale] = Faker(country.locale)
            self._fakers[country.locale].seed_instance(f"{SEED} {country.locale}")

    def country(self) -> Country:
        return self._rng.choices(COUNTRIES, [country.share for country in COUNTRIES])[0]

    def name(self, country: Country) -> tuple[str, str]:
        faker = self._fakers[country.locale]
        if self._rng.random() < 0.5:  # noqa: PLR2004 - half of the people
            return faker.first_name_female(), faker.last_name_female()
        return faker.first_name_male(), faker.last_name_male()

    def address(self, country: Country, domain: str) -> str:
        user = self._fakers[country.locale].user_name()[:_LONGEST_USER].strip(".-_")
        # At the real providers the address says itself that it is nobody's.
        mark = "-mailwarren-demo" if domain in PROVIDERS else ""
        found, number = f"{user}{mark}@{domain}", 1
        while found in self._taken:
            number += 1
            found = f"{user}{number}{mark}@{domain}"
        self._taken.add(found)
        return found


def rows() -> Iterator[dict[str, str]]:
    """All rows of the file, the wrong ones at seeded places."""
    rng = Random(SEED)
    people = _People(rng)
    good = [_row(rng, people, slot) for slot in slots(rng)]
    for row, name in zip(rng.sample(good, len(AWKWARD)), AWKWARD, strict=True):
        row["first_name"], row["last_name"] = name
        row["language"] = "en"
    for row in rng.sample(good, len(good) // 400):
        # People write domains as they like; they are the same domains.
        local, _, domain = row["email"].partition("@")
        row["email"] = f"{local}@{domain.title()}"
    for wrong in WRONG:
        row = _wrong(wrong, _row(rng, people, Slot("northwind.test", wrong.lane)))
        good.insert(rng.randrange(len(good)), row)
    yield from good


def _row(rng: Random, people: _People, slot: Slot) -> dict[str, str]:
    country = people.country()
    first, last = people.name(country)
    plan = rng.choices(tuple(_PLANS), (5, 3, 2))[0]
    renewal = _FIRST_RENEWAL + timedelta(days=rng.randrange(365))
    seconds = expires_in(slot)
    return {
        "email": people.address(country, slot.domain),
        "first_name": "" if rng.random() < _NAMELESS else first,
        "last_name": last,
        "language": country.language,
        "city": rng.choice(country.cities),
        "lane": slot.lane.value,
        "plan": plan,
        "renewal_date": renewal.isoformat(),
        "amount": f"{_PLANS[plan] * rng.choice((1, 10)) + rng.randrange(100, 1000) / 100:.2f}",
        "currency": country.currency,
        "expires_in": "" if seconds is None else str(seconds),
    }


def _wrong(wrong: Wrong, row: dict[str, str]) -> dict[str, str]:
    local, _, domain = row["email"].partition("@")
    spoilt = {
        "no @ in the address": {"email": f"{local}.{domain}"},
        "no address": {"email": ""},
        "a line break and a forged header in the first name": {"first_name": "Eve\r\nBcc: everyone@northwind.test"},
        "a line break in the last name": {"last_name": "Line\nBreak"},
        "a domain literal": {"email": f"{local}@[192.0.2.17]"},
        "no renewal date, which the template needs": {"renewal_date": ""},
        "a local part of more than 64 octets": {"email": f"{'far-too-long-' * 6}{local}@{domain}"},
        "two dots in a row in the address": {"email": f"{local}..box@{domain}"},
    }
    return row | spoilt[wrong.fault]


def write(path: Path) -> int:
    """Write the file; returns the number of rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        count = 0
        for row in rows():
            writer.writerow(row)
            count += 1
    return count


def main() -> None:
    """Write the committed file anew, or the one named."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(str(FILE))
    print(f"{write(path)} rows written to {path}")


if __name__ == "__main__":
    main()
