"""Mail to many domains, to its end."""

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.harness.system import System

AT_ONCE = 5000


class Unbalanced(AssertionError):
    """The ledger does not balance after all that was waited."""


def send_to_domains(system: System, mails: int, first: int, domains: int) -> None:
    """So many mails to ``d<first>.test`` and the domains after it, a third in each lane.

    Returns when the ledger has an end for each.

    Raises:
        Unbalanced: it has not, or a mail did not reach the sink.
    """
    promises = []
    for start in range(0, mails, AT_ONCE):
        count = min(AT_ONCE, mails - start)
        for number, lane in enumerate(Lane):
            picked = range(start + number, start + count, len(Lane))
            addresses = [f"u{one}@d{first + one % domains}.test" for one in picked]
            promises += system.send_bulk(addresses, lane=lane)
    found = system.settle(promises, timeout=60 + mails / 100)
    if found.missing_rows or found.without_end or found.delivered_but_not_at_sink:
        raise Unbalanced(str(found))
