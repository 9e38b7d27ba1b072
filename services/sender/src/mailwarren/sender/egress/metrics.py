"""Metrics of egresses. Their names are those of the operator's file."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from mailwarren.contracts.egress import EgressState

_attempts = Counter(
    "mailwarren_sender_egress_attempts_total", "Attempts by the egress that they left from", ["egress", "result"]
)
_waits = Counter(
    "mailwarren_sender_egress_waits_total", "Mails that went to the ladder because no egress was open", ["reason"]
)
_open = Gauge("mailwarren_sender_egress_open", "1 when mail may leave from the egress, 0 when not", ["egress"])
_check = Gauge(
    "mailwarren_sender_egress_check",
    "1 when a check of the egress passed, 0 when it failed; absent while nobody can tell",
    ["egress", "check"],
)
_warm_up_most = Gauge(
    "mailwarren_sender_egress_warmup_limit", "Mails that all senders may send today from an egress", ["egress", "site"]
)
_warm_up_taken = Gauge(
    "mailwarren_sender_egress_warmup_taken", "Mails of those that senders have taken", ["egress", "site"]
)
_reservations = Counter(
    "mailwarren_sender_egress_reservations_total", "Parts of a day's number asked for, by what came of it", ["result"]
)

USED_UP, CLOSED, NOT_HERE, UNREACHED, PASSED_ON = "used_up", "closed", "not_here", "unreached", "passed_on"
REASONS = (USED_UP, CLOSED, NOT_HERE, UNREACHED, PASSED_ON)
"""Why none is open: numbers of the day, checks, all are other senders' or hosts', no address of the hosts' family, or
the one that the mail was greylisted from is another sender's."""
for _reason in REASONS:
    _waits.labels(_reason)
for _result in ("granted", "none_left", "unheard"):
    _reservations.labels(_result)

_checks_shown: set[tuple[str, str]] = set()
_open_shown: set[str] = set()
_warming_shown: set[tuple[str, str]] = set()


def record_egress_attempt(egress: str, result: str) -> None:
    """An attempt from an egress ended: ``delivered``, ``deferred`` and so on."""
    _attempts.labels(egress, result).inc()


def record_egress_wait(reason: str) -> None:
    """No egress was open for a mail."""
    _waits.labels(reason).inc()


def record_reservation(result: str) -> None:
    """A reservation was ``granted``, came when there was ``none_left``, or stayed ``unheard``."""
    _reservations.labels(result).inc()


def record_checks(found: Iterable[tuple[str, str, bool]]) -> None:
    """By egress and check, those that nobody can tell left out: whether it passed."""
    now: dict[tuple[str, str], bool] = {}
    for egress, check, passed in found:
        now[egress, check] = passed and now.get((egress, check), True)
    for gone in _checks_shown - now.keys():
        _check.remove(*gone)
    _checks_shown.clear()
    _checks_shown.update(now)
    for labels, passed in now.items():
        _check.labels(*labels).set(passed)


def record_egresses(states: Iterable[EgressState]) -> None:
    """The egresses of this sender as they are now."""
    known = {state.name: state for state in states}
    for gone in _open_shown - known.keys():
        _open.remove(gone)
    warming = {(state.name, one.site): one for state in known.values() for one in state.warming}
    for labels in _warming_shown - warming.keys():
        _warm_up_most.remove(*labels)
        _warm_up_taken.remove(*labels)
    _open_shown.clear()
    _open_shown.update(known)
    _warming_shown.clear()
    _warming_shown.update(warming)
    for name, state in known.items():
        _open.labels(name).set(state.open)
    for labels, one in warming.items():
        _warm_up_most.labels(*labels).set(one.most)
        _warm_up_taken.labels(*labels).set(one.taken)
