"""The four questions, answered in sentences that are made from the cells."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from mailwarren.stress.bottleneck import bottleneck
from mailwarren.stress.grid import DEFERRED, RIVALS, Row
from mailwarren.stress.report.tables import of_row
from mailwarren.stress.report.words import between, listed, name_of, percent, seconds, times, whole
from mailwarren.stress.result import Outcome


def answers(outcomes: Sequence[Outcome]) -> str:
    """A paragraph for each question that the cells at hand can answer."""
    questions: list[tuple[str, Callable[[Sequence[Outcome]], Iterator[str]]]] = [
        ("How long does a mail take?", _how_long),
        ("How many a minute, as senders and queues grow?", _how_many),
        ("What share fails?", _what_fails),
        ("Where is the bottleneck?", _where),
        ("And the others, at the same load?", _others),
    ]
    parts = []
    for question, answer in questions:
        if said := list(answer(outcomes)):
            parts.append("\n".join([f"**{question}**", "", *(f"- {one}" for one in said)]))
    return "\n\n".join(parts)


def _how_long(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for latency, some in _by(of_row(outcomes, Row.STEADY), lambda one: one.cell.latency_ms):
        spreads = [one.completion for one in some if one.completion]
        if spreads:
            means = between(*_ends([one.mean for one in spreads], seconds))
            tails = between(*_ends([one.p99 for one in spreads], seconds))
            posts = between(*_ends([one.cell.rate or 0 for one in some], whole))
            yield (
                f"With answers after {latency} ms and no queue in front ({posts} single posts a second): "
                f"{means} on average, p99 {tails}, from acceptance to the receiver's yes."
            )
    plain = [one for one in of_row(outcomes, Row.GRID) if not one.cell.refused]
    for latency, some in _by(plain, lambda one: one.cell.latency_ms):
        spreads = [one.completion for one in some if one.completion]
        if spreads:
            mails = between(*_ends([one.cell.mails for one in some], whole))
            means = between(*_ends([one.mean for one in spreads], seconds))
            yield (
                f"When {mails} mails come at once, answers after {latency} ms: {means} on average; "
                f"most of it is waiting behind the others."
            )
    for one in of_row(outcomes, Row.TEMPORARY)[-1:]:
        if one.completion:
            yield (
                f"With {percent(DEFERRED)} of tries refused for the time being: "
                f"{seconds(one.completion.mean)} on average, "
                f"p50 {seconds(one.completion.p50)}, p99 {seconds(one.completion.p99)}; retries set the tail."
            )


def _how_many(outcomes: Sequence[Outcome]) -> Iterator[str]:
    plain = [one for one in of_row(outcomes, Row.GRID) if not one.cell.refused]
    for latency, some in _by(plain, lambda one: one.cell.latency_ms):
        said = []
        for senders, same in _by(some, lambda one: one.cell.senders):
            rates = between(*_ends([one.rate * 60 for one in same], whole))
            said.append(f"{rates} with {senders} sender{'s' * (senders > 1)}")
        yield f"Answers after {latency} ms: {listed(said)} (mails a minute; the range is over the numbers of queues)."
    for queues, some in _by(plain, lambda one: one.cell.queues):
        fastest = max(some, key=lambda one: one.rate)
        yield (
            f"{queues} queue{'s' * (queues > 1)}: at most {whole(fastest.rate * 60)} a minute, "
            f"with {fastest.cell.senders} senders and answers after {fastest.cell.latency_ms} ms."
        )


def _what_fails(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for refused, some in _by(of_row(outcomes, Row.GRID), lambda one: one.cell.refused):
        got = between(*_ends([one.error_share for one in some], percent))
        yield (
            f"Receivers that refuse {percent(refused)} for good: {got} of the mails fail, in {len(some)} cells of "
            f"{between(*_ends([one.cell.senders for one in some], whole))} senders and "
            f"{between(*_ends([one.cell.queues for one in some], whole))} queues."
        )
    ours = [one for one in outcomes if one.cell.is_ours]
    late, different = sum(one.open for one in ours), sum(bool(one.differences) for one in ours)
    if ours:
        lost = "the ledger agrees in all of them" if not different else f"the ledger differs in {different} of them"
        rest = (
            "none was open at the end of its time" if not late else f"{whole(late)} were open when their time was over"
        )
        yield f"Of {whole(sum(one.cell.mails for one in ours))} mails in {len(ours)} cells {rest}; {lost}."
    retried = of_row(outcomes, Row.TEMPORARY)
    if retried:
        failed = sum(one.refused for one in retried)
        ended = whole(sum(one.ended for one in retried))
        yield f"Of {ended} mails that met temporary refusals {whole(failed)} failed: the others were tried again."


def _where(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for latency, some in _by(of_row(outcomes, Row.GRID), lambda one: one.cell.latency_ms):
        for senders, same in _by(some, lambda one: one.cell.senders):
            counts = Counter(bottleneck(one).name for one in same)
            said = listed([f"{name} ({count} of {len(same)} cells)" for name, count in counts.most_common()])
            yield f"Answers after {latency} ms, {senders} sender{'s' * (senders > 1)}: {said}."


def _others(outcomes: Sequence[Outcome]) -> Iterator[str]:
    ours = [one for one in of_row(outcomes, Row.GRID) if not one.cell.refused]
    for row in RIVALS:
        plain = [one for one in of_row(outcomes, row) if not one.cell.refused]
        for latency, theirs in _by(plain, lambda one: one.cell.latency_ms):
            same = [one for one in ours if one.cell.latency_ms == latency]
            pairs = [
                (max(rates), other.rate)
                for other in theirs
                if (rates := [one.rate for one in same if one.cell.senders == other.cell.senders]) and other.rate
            ]
            if pairs:
                ratios = between(*_ends([mine / his for mine, his in pairs], times))
                fastest = whole(max(one.rate for one in theirs) * 60)
                yield (
                    f"{name_of(row)}, answers after {latency} ms: at most {fastest} a minute; "
                    f"Mailwarren does {ratios} as many with as many senders as workers."
                )


def _by(outcomes: Sequence[Outcome], key: Callable[[Outcome], float]) -> Iterator[tuple[float, list[Outcome]]]:
    found: dict[float, list[Outcome]] = {}
    for one in outcomes:
        found.setdefault(key(one), []).append(one)
    yield from sorted(found.items())


def _ends(values: Sequence[float], words: Callable[[float], str]) -> tuple[str, str]:
    return words(min(values)), words(max(values))
