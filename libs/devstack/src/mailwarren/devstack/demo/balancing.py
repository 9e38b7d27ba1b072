"""Lays the four counts of the ledger side by side. Pure: from what four parties say to lines, faults and a verdict."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.ledger import (
    ENDS,
    Accepted,
    Copies,
    Depths,
    Entry,
    Fault,
    Finding,
    LaneCounts,
    Ledger,
)
from mailwarren.store.states import State

_LOST = frozenset({Fault.NO_ROW, Fault.NO_ACCEPTANCE, Fault.NO_END, Fault.NOT_AT_SINK})


class _Book:
    """Collects what is found."""

    def __init__(self, accepted: Sequence[Accepted]) -> None:
        self.asked: dict[UUID, Accepted] = {one.id: one for one in accepted}
        self.lanes = {lane: LaneCounts() for lane in Lane}
        self.stray = LaneCounts()
        self.faults: dict[Fault, list[Finding]] = defaultdict(list)

    def line(self, lane: Lane | None) -> LaneCounts:
        """The line of a lane; what belongs to none is in the total alone."""
        return self.stray if lane is None else self.lanes[lane]

    def fault(self, kind: Fault, lane: Lane | None, subject: str, detail: str) -> None:
        self.faults[kind].append(Finding(lane, subject, detail))
        if kind in _LOST:
            self.line(lane).lost += 1


def balance(
    accepted: Sequence[Accepted],
    entries: Iterable[Entry],
    pairs: Iterable[Copies],
    depths: Depths,
    unanswered_calls: Iterable[Finding] = (),
) -> Ledger:
    """Lay the four counts side by side.

    Args:
        accepted: the client's: one for each id in the API's answers.
        entries: Postgres': the rows of these ids, and any other row of this run.
        pairs: the sink's: every pair of this run.
        depths: the broker's, once it is quiet.
        unanswered_calls: rows whose call never had an answer.
    """
    book = _Book(accepted)
    for call in unanswered_calls:
        book.fault(Fault.NO_ANSWER, call.lane, call.subject, call.detail)
    rows: dict[UUID, list[Entry]] = defaultdict(list)
    for entry in entries:
        rows[entry.email_id].append(entry)
    copies = {(pair.message_id, pair.address): pair for pair in pairs}
    for ident, several in Counter(one.id for one in accepted).items():
        if several > 1:
            book.fault(Fault.SAME_ID, book.asked[ident].lane, str(ident), f"{several} rows of the CSV")
    claimed: set[tuple[str, str]] = set()
    for one in accepted:
        book.lanes[one.lane].accepted += 1
    for one in book.asked.values():
        _check_rows(book, one, rows.pop(one.id, []), copies, claimed)
    for unknown in rows.values():
        for entry in unknown:
            book.fault(Fault.UNKNOWN_ROW, _lane(entry.lane), _named(entry), f"state {entry.state}")
            claimed.add((entry.message_id, entry.address))
    duplicates, unanswered = _check_sink(book, copies, claimed)
    _check_broker(book, depths)
    total = sum(book.lanes.values(), book.stray)
    return Ledger(book.lanes, total, dict(book.faults), duplicates, unanswered)


def _check_rows(
    book: _Book,
    one: Accepted,
    entries: Sequence[Entry],
    copies: Mapping[tuple[str, str], Copies],
    claimed: set[tuple[str, str]],
) -> None:
    if not entries:
        book.fault(Fault.NO_ROW, one.lane, f"row {one.row} ({one.id})", f"to {one.address}")
    if len(entries) > 1:
        addresses = ", ".join(entry.address for entry in entries)
        book.fault(Fault.SEVERAL_ROWS, one.lane, f"row {one.row} ({one.id})", f"to {addresses}")
    for entry in entries:
        claimed.add((entry.message_id, entry.address))
        subject = f"row {one.row} {_named(entry)}"
        if entry.lane != one.lane:
            book.fault(Fault.OTHER_LANE, one.lane, subject, f"recorded as {entry.lane}")
        if entry.address != one.address:
            book.fault(Fault.OTHER_ADDRESS, one.lane, subject, f"posted for {one.address}")
        _check_end(book, one.lane, subject, entry, copies.get((entry.message_id, entry.address)))


def _check_end(book: _Book, lane: Lane, subject: str, entry: Entry, found: Copies | None) -> None:
    if not entry.message_id:
        book.fault(Fault.NO_ACCEPTANCE, lane, subject, f"state {entry.state}")
        return
    if entry.state not in ENDS:
        book.fault(Fault.NO_END, lane, subject, f"state {entry.state} after attempt {entry.attempt}: {entry.last}")
        return
    state = State(entry.state)
    book.line(_lane(entry.lane)).states[state] += 1
    answered, unanswered = (found.answered, found.unanswered) if found else (0, 0)
    if state is State.DELIVERED and not answered:
        book.fault(Fault.NOT_AT_SINK, lane, subject, f"{unanswered} copies without an answer")
    elif state is not State.DELIVERED and answered:
        book.fault(Fault.AT_SINK, lane, subject, f"state {state}, {answered} copies answered with 250")
    elif state is State.SUPPRESSED and unanswered:
        # Everything else may have arrived without our knowing; what is suppressed is not even tried.
        book.fault(Fault.AT_SINK, lane, subject, f"state {state}, {unanswered} copies without an answer")


def _check_sink(
    book: _Book, copies: Mapping[tuple[str, str], Copies], claimed: set[tuple[str, str]]
) -> tuple[list[Finding], list[Finding]]:
    duplicates: list[Finding] = []
    unanswered: list[Finding] = []
    for key, pair in copies.items():
        asked = book.asked.get(_email_id(pair.message_id))
        lane = asked.lane if asked else None
        subject = f"<{pair.message_id}> to {pair.address}"
        line = book.line(lane)
        line.at_sink += pair.answered > 0
        if pair.answered > 1:
            line.duplicates += pair.answered - 1
            duplicates.append(Finding(lane, subject, f"{pair.answered} copies answered with 250"))
        if pair.unanswered:
            detail = f"{pair.unanswered} without an answer, {pair.answered} answered with 250"
            unanswered.append(Finding(lane, subject, detail))
        if key not in claimed:
            book.fault(Fault.STRAY, lane, subject, f"{pair.answered + pair.unanswered} copies")
    return duplicates, unanswered


def _check_broker(book: _Book, depths: Depths) -> None:
    for lane in Lane:
        book.lanes[lane].in_broker = depths.lanes.get(lane, 0)
    book.stray.in_broker = depths.shared + depths.parked
    places = {f"queues of {lane}": depths.lanes.get(lane, 0) for lane in Lane}
    places |= {"queues of all lanes": depths.shared, "mail.dead and mail.unrouted": depths.parked}
    for place, count in places.items():
        if count:
            book.fault(Fault.IN_BROKER, None, place, f"{count} messages")


def _named(entry: Entry) -> str:
    return f"<{entry.message_id or entry.email_id}> to {entry.address}"


def _lane(name: str) -> Lane | None:
    return Lane(name) if name in {lane.value for lane in Lane} else None


def _email_id(message_id: str) -> UUID:
    try:
        return UUID(message_id.partition("@")[0])
    except ValueError:
        return UUID(int=0)
