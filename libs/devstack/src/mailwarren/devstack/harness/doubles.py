"""Which mails may have been sent twice: the sink's own record against the moments of death (DESIGN §2.4)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.sink import SinkRecord

MARGIN = 0.5
"""Seconds before a kill in which an answered mail's outcome may not have reached the broker yet."""


def unexcused(
    doubled: Iterable[Promise], records: Iterable[SinkRecord], kills: Sequence[float] = ()
) -> list[tuple[SinkRecord, ...]]:
    """The copies of each doubled mail that had no reason to come again.

    Every copy but the last needs an excuse: its final dot was never answered, or was answered less than ``MARGIN``
    seconds before a kill (or after it, into a connection whose sender was dead) that it had arrived before.

    Args:
        doubled: mails of which the sink has more than one copy.
        records: the sink's record of every final dot.
        kills: Unix seconds at which a sender died; none means that only an unanswered dot excuses.
    """
    copies = defaultdict(list)
    for record in records:
        copies[record.message_id, record.rcpt].append(record)
    bad = []
    for promise in doubled:
        ordered = sorted(copies[promise.message_id, promise.address], key=lambda one: one.received_at)
        if not all(_is_excused(one, kills) for one in ordered[:-1]):
            bad.append(tuple(ordered))
    return bad


def _is_excused(copy: SinkRecord, kills: Sequence[float]) -> bool:
    if copy.answered_at is None:
        return True
    return any(copy.received_at <= killed + MARGIN and copy.answered_at >= killed - MARGIN for killed in kills)
