"""What the committed ``recipients.csv`` contains, as numbers: domains, lanes, expiry, and the rows that are wrong.

:mod:`.generate` fills this plan with names; the tests hold the file against it; :mod:`.personas` says how the servers
of these domains behave.
"""

from collections import Counter
from itertools import pairwise
from random import Random
from typing import NamedTuple

from mailwarren.contracts.lanes import Lane

SEED = 20_260_301
ROWS = 10_000
LANES: dict[Lane, int] = {Lane.HIGH: 500, Lane.NORMAL: 2_500, Lane.BULK: 7_000}

# The big providers have shards of their own. Their names are safe here: the demo sends one mail to a .test address
# first and stops unless it arrives at the local sink.
PROVIDERS: dict[str, int] = {"gmail.com": 2_600, "outlook.com": 1_100, "yahoo.com": 600, "icloud.com": 400}

GREYLISTS = "nordlicht-post.test"
LEFT_CAMPUS = "old-campus.test"
POLICY = "fortress-bank.test"
FULL_MAILBOXES = "full-attic.test"
STRANGE_WORDS = "oracle-of-delphi.test"
BUSY = "busy-harbour.test"
CLOSES_EARLY = "shy-server.test"
FRAYED = "frayed-cable.test"
LOSES_ANSWERS = "lost-answer.test"
SLOW_DOT = "slow-and-steady.test"
TARPIT = "molasses.test"
CLOSED = "closed-for-repairs.test"

TROUBLED: dict[str, int] = {
    GREYLISTS: 160, LEFT_CAMPUS: 150, POLICY: 120, FULL_MAILBOXES: 120, STRANGE_WORDS: 80, BUSY: 160,
    CLOSES_EARLY: 120, FRAYED: 160, LOSES_ANSWERS: 120, SLOW_DOT: 100, TARPIT: 80, CLOSED: 60,
}  # fmt: skip
"""Domains whose servers do more than take the mail."""

OTHERS: tuple[str, ...] = (
    "northwind.test", "contoso.test", "fabrikam.test", "acme.test", "globex.test", "initech.test", "umbrella.test",
    "stadtwerke-musterstadt.test", "librairie-du-port.test", "panaderia-sol.test", "quinta-do-vale.test",
    "ksiegarnia-pod-lipa.test", "hrad-a-zahrada.test", "kahve-evi.test", "fjordkraft.test", "szekely-kft.test",
    "zavod-progress.test", "dnipro-media.test", "agora-athens.test", "suq-alnoor.test", "hamesh-books.test",
    "jade-teahouse.test", "sakura-denki.test", "hanok-design.test", "ganga-textiles.test", "chao-phraya-tours.test",
    "kartli-wine.test", "ararat-soft.test", "padma-shipping.test", "baobab-relief.test", "southern-cross.test",
    "maple-clinic.test", "bücher-ecke.test", "почта-друзей.test",
)  # fmt: skip
"""Domains that take everything; the last two are internationalised (RFC 5890)."""

EXPIRES_IN = {Lane.HIGH: 600}
"""Seconds that a lane's mails are worth sending; the others have no limit of their own."""
CLOSED_EXPIRES_IN = 15
"""The same for the domain whose server never takes anything: about three attempts at the demo's retry scale."""


class Slot(NamedTuple):
    """A row before it has a person: where it goes and in which lane."""

    domain: str
    lane: Lane


class Wrong(NamedTuple):
    """A row that the API must refuse, in its lane; ``fault`` is for people who read the generator."""

    lane: Lane
    fault: str


WRONG: tuple[Wrong, ...] = (
    Wrong(Lane.NORMAL, "no @ in the address"),
    Wrong(Lane.BULK, "no address"),
    Wrong(Lane.BULK, "a line break and a forged header in the first name"),
    Wrong(Lane.HIGH, "a line break in the last name"),
    Wrong(Lane.NORMAL, "a domain literal"),
    Wrong(Lane.BULK, "no renewal date, which the template needs"),
    Wrong(Lane.HIGH, "a local part of more than 64 octets"),
    Wrong(Lane.BULK, "two dots in a row in the address"),
)


def domain_counts() -> dict[str, int]:
    """Good rows by domain: fixed for providers and troubled domains, a heavy tail (1/rank) for the others."""
    fixed = {**PROVIDERS, **TROUBLED}
    left = ROWS - len(WRONG) - sum(fixed.values())
    weights = [1 / rank for rank in range(1, len(OTHERS) + 1)]
    # Rounding the running sum gives whole numbers that add up.
    reached, running = [0], 0.0
    for weight in weights:
        running += weight
        reached.append(round(left * running / sum(weights)))
    return fixed | {domain: high - low for domain, (low, high) in zip(OTHERS, pairwise(reached), strict=True)}


def slots(rng: Random) -> list[Slot]:
    """The good rows in a random order: every domain in proportion in every lane, by chance alone."""
    wrong = Counter(row.lane for row in WRONG)
    domains = [domain for domain, count in domain_counts().items() for _ in range(count)]
    lanes = [lane for lane, count in LANES.items() for _ in range(count - wrong[lane])]
    rng.shuffle(domains)
    rng.shuffle(lanes)
    return [Slot(domain, lane) for domain, lane in zip(domains, lanes, strict=True)]


def expires_in(slot: Slot) -> int | None:
    """Seconds after which this row's mail is worthless, if it ever is."""
    return CLOSED_EXPIRES_IN if slot.domain == CLOSED else EXPIRES_IN.get(slot.lane)
