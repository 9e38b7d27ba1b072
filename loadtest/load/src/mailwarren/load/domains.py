"""Whom the mail goes to: a heavy-tailed mix of domains, the same for the same seed.

The shares of the providers are assumptions, not measurements. Published samples of consumers' addresses agree on the
order (one of 2.3 million, mostly American: Google 39 %, Microsoft 35 %, Yahoo 18 %), and lists with business customers
have many more domains of their own. The mix stands between them: 28 % go to the tail, which is what shards, connection
pools and metrics have to bear. In the tail the domain of rank k gets mail in proportion to 1/k (Zipf's law): the first
of 5,000 has a ninth of it, and half of them have less than one mail in 80,000.
"""

from bisect import bisect
from collections.abc import Mapping
from itertools import accumulate
from random import Random
from typing import NamedTuple

PROVIDERS: Mapping[str, float] = {
    "gmail.com": 0.38, "googlemail.com": 0.02,
    "outlook.com": 0.07, "hotmail.com": 0.06, "live.com": 0.02,
    "yahoo.com": 0.09, "aol.com": 0.03,
    "icloud.com": 0.05,
}  # fmt: skip
"""Share of each provider's domain; each provider's domains have a shard together."""
TAIL = 5_000
"""Domains beside the providers."""
SEED = 20_260_601

_GIVEN = (
    "ada",
    "bela",
    "chloe",
    "dmitri",
    "esra",
    "femi",
    "grete",
    "hana",
    "ines",
    "jun",
    "kofi",
    "lea",
    "mina",
    "noor",
)
_FAMILY = (
    "abel",
    "brandt",
    "costa",
    "dubois",
    "eriksen",
    "fischer",
    "garcia",
    "haddad",
    "ito",
    "jansen",
    "kim",
    "lopez",
)
_TRADES = ("bakery", "clinic", "logistics", "press", "school", "studio", "systems", "works")
_PLACES = (
    "alder",
    "bay",
    "cedar",
    "delta",
    "elm",
    "ford",
    "glen",
    "hill",
    "isle",
    "lake",
    "moor",
    "north",
    "oak",
    "port",
)


class Person(NamedTuple):
    """A recipient: an address and what a mail calls its owner."""

    address: str
    name: str


class Domains:
    """Draws recipients.

    Args:
        seed: the same one gives the same recipients in the same order.
        real_names: the providers' own domain names; without, ``gmail.com`` is ``gmail-com.test``, which has no mail
            server anywhere (RFC 2606 §2).
        tail: domains beside the providers'.
    """

    def __init__(self, seed: int = SEED, *, real_names: bool = False, tail: int = TAIL) -> None:
        self._rng = Random(seed)
        providers = [name if real_names else f"{name.replace('.', '-')}.test" for name in PROVIDERS]
        self.names = [*providers, *(tail_domain(rank) for rank in range(1, tail + 1))]
        """All domains: the providers', then the tail by rank."""
        harmonic = sum(1 / rank for rank in range(1, tail + 1))
        left = 1 - sum(PROVIDERS.values())
        self.shares = [*PROVIDERS.values(), *(left / rank / harmonic for rank in range(1, tail + 1))]
        """The share of each; they add up to 1."""
        self._sums = list(accumulate(self.shares))

    def draw(self) -> str:
        """The domain of the next recipient."""
        return self.names[min(bisect(self._sums, self._rng.random()), len(self.names) - 1)]

    def person(self) -> Person:
        """The next recipient."""
        given, family = self._rng.choice(_GIVEN), self._rng.choice(_FAMILY)
        number = self._rng.randrange(1_000_000)
        return Person(f"{given}.{family}{number}@{self.draw()}", f"{given} {family}".title())

    def people(self, count: int) -> list[Person]:
        """So many recipients, no address twice."""
        found: dict[str, Person] = {}
        while len(found) < count:
            person = self.person()
            found[person.address] = person
        return list(found.values())

    def size(self, most: int, least: int = 50) -> int:
        """Recipients of a bulk call: Pareto with index 1, cut off. Many calls are small, some have ``most``."""
        return max(1, min(most, int(least / max(1e-9, 1 - self._rng.random()))))


def tail_domain(rank: int) -> str:
    """The name of the domain of a rank: reserved (RFC 2606 §2), so that no mail can reach anybody."""
    place, trade = _PLACES[rank % len(_PLACES)], _TRADES[rank // len(_PLACES) % len(_TRADES)]
    return f"{place}-{trade}-{rank}.test"
