"""What happens when: rounds of senders killed and started, drawn from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

MOST_SENDERS = 4


@dataclass(frozen=True)
class Round:
    """One blow: when, against how many, and how many senders there are to be afterwards.

    ``after`` is the share of all mails that must have arrived, ``pause`` how many seconds later it falls. The share
    keeps rounds within the load however fast the machine is; the pause makes the moment random against what senders do.
    """

    number: int
    after: float
    pause: float
    victims: int
    senders: int


def draw_rounds(count: int, seed: int) -> Sequence[Round]:
    """``count`` rounds, spread over the load; the same for the same seed."""
    chance = Random(seed)
    rounds = []
    for number in range(1, count + 1):
        after = (number - 1 + chance.uniform(0.15, 0.95)) / (count + 0.5)
        victims = chance.choices((1, 2, 3, MOST_SENDERS), (6, 3, 1, 1))[0]
        rounds.append(Round(number, after, chance.uniform(0.0, 0.15), victims, chance.randint(1, MOST_SENDERS)))
    return rounds
