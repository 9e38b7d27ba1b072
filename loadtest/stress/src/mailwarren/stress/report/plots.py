"""The plots, as PNG: titles that say what is seen, units, lines named where they end, colours for every eye."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailwarren.stress.grid import RIVALS, SENDERS, Row
from mailwarren.stress.report.tables import PARTS, of_row
from mailwarren.stress.report.words import name_of
from mailwarren.stress.result import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by all kinds of colour vision; their yellow is too light for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999", "#7A5195")
_MARKERS = "os^Dv"
_LINE_OF_TEXT = 0.065
"""Share of a panel's height."""
_WIDTH, _HEIGHT, _DPI = 11.0, 3.9, 110
_STYLE: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
}
Panel = tuple[str, list[Outcome]]


def draw(outcomes: Sequence[Outcome], folder: Path) -> dict[str, str]:
    """Write each plot that the cells at hand have points for; returns file name and what it shows."""
    import matplotlib as mpl

    found: dict[str, str] = {}
    with mpl.rc_context(_STYLE):
        for name, title, make in (
            ("rate.png", "Mails a minute by senders, all mails at once", _rate),
            ("completion.png", "From acceptance to the end, by senders (line: p50, band: to p99)", _completion),
            ("depth.png", "Mails in the system while a load is worked off, nothing refused", _depth),
            ("errors.png", "Share of mails that fail, by senders", _errors),
            ("cpu.png", "CPU a mail by part", _cpu),
            (
                "rivals.png",
                "Mails a minute beside the rivals, same loads (ours with the best number of queues)",
                _rivals,
            ),
        ):
            figure = make(outcomes)
            if figure is None:
                (folder / name).unlink(missing_ok=True)
                continue
            figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
            figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})
            found[name] = title
    return found


def _rate(outcomes: Sequence[Outcome]) -> Figure | None:
    panels = _by_latency(one for one in of_row(outcomes, Row.GRID) if not one.cell.refused)
    return _panels(panels, "mails a minute", lambda axes, some: _lines(axes, some, _queues, _per_minute))


def _completion(outcomes: Sequence[Outcome]) -> Figure | None:
    steady = of_row(outcomes, Row.STEADY)
    panels = [(f"one by one, {title}", some) for title, some in _by_latency(steady)]
    return _panels(panels, "seconds", _band)


def _band(axes: Axes, some: Sequence[Outcome]) -> None:
    spreads = [(one.cell.senders, one.completion) for one in some if one.completion]
    senders = [count for count, _ in spreads]
    axes.fill_between(senders, [s.p50 for _, s in spreads], [s.p99 for _, s in spreads], color=_COLOURS[0], alpha=0.2)
    for values, name in (([s.p50 for _, s in spreads], "p50"), ([s.p99 for _, s in spreads], "p99")):
        axes.plot(senders, values, marker="o", color=_COLOURS[0])
        axes.annotate(name, (senders[-1], values[-1]), (5, 0), textcoords="offset points", va="center")
    axes.set_ylim(bottom=0)
    _sender_ticks(axes)


def _depth(outcomes: Sequence[Outcome]) -> Figure | None:
    plain = [one for one in of_row(outcomes, Row.GRID) if not one.cell.refused]
    queues = sorted({one.cell.queues for one in plain})
    middle = queues[len(queues) // 2] if queues else 0
    panels = _by_latency(one for one in plain if one.cell.queues == middle)

    def curves(axes: Axes, some: Sequence[Outcome]) -> None:
        for place, one in enumerate(some):
            seconds, mails = [point[0] for point in one.curve], [point[1] for point in one.curve]
            axes.plot(seconds, mails, color=_COLOURS[place])
            at = len(seconds) * (place + 1) // (len(some) + 3)
            text = f"{one.cell.senders} sender{'s' * (one.cell.senders > 1)}"
            axes.annotate(text, (seconds[at], mails[at]), (6, 4), textcoords="offset points", color=_COLOURS[place])
        axes.set_xlabel("seconds since the first request")
        axes.margins(x=0.02)
        axes.set_ylim(bottom=0)

    return _panels(panels, f"mails without an end ({middle} queues)", curves)


def _errors(outcomes: Sequence[Outcome]) -> Figure | None:
    panels = _by_latency(of_row(outcomes, Row.GRID))

    def points(axes: Axes, some: Sequence[Outcome]) -> None:
        for place, asked in enumerate(sorted({one.cell.refused for one in some})):
            same = [one for one in some if one.cell.refused == asked]
            axes.axhline(asked * 100, color=_COLOURS[place], linestyle=":", linewidth=1)
            senders, shares = [one.cell.senders for one in same], [one.error_share * 100 for one in same]
            axes.plot(senders, shares, _MARKERS[place], color=_COLOURS[place], alpha=0.7)
            axes.annotate(f"{asked:.0%} asked for", (max(senders), asked * 100), (6, 3), textcoords="offset points")
        _sender_ticks(axes)

    return _panels(panels, "% of the mails that ended", points)


def _cpu(outcomes: Sequence[Outcome]) -> Figure | None:
    chosen = [
        one
        for one in of_row(outcomes, *Row)
        if not (one.cell.refused or one.cell.latency_ms) and one.cell.row is not Row.STEADY
    ]
    ours = [one for one in chosen if one.cell.is_ours and one.cell.queues in {0, 9}]
    bars = ours + [one for one in chosen if not one.cell.is_ours and one.cell.senders == min(SENDERS)]
    if not bars:
        return None
    figure = _figure(1.4 + 0.34 * len(bars))
    axes = figure.subplots()
    start = [0.0] * len(bars)
    for place, part in enumerate(part for part in PARTS if part != "watch"):
        spent = [one.cpu.get(part, 0.0) for one in bars]
        if any(spent):
            axes.barh(range(len(bars)), spent, left=start, color=_COLOURS[place], label=part)
            start = [before + more for before, more in zip(start, spent, strict=True)]
    for place, end in enumerate(start):
        axes.annotate(f"{end:,.0f}", (end, place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(bars)), [f"{name_of(one.cell.row)}: {one.cell.ident}" for one in bars])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("microseconds of CPU a mail, receiver without latency")
    axes.legend(ncols=len(PARTS), loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8, columnspacing=1)
    return figure


def _rivals(outcomes: Sequence[Outcome]) -> Figure | None:
    theirs = of_row(outcomes, *RIVALS)
    if not theirs:
        return None
    best: dict[tuple[int, int], Outcome] = {}
    for one in of_row(outcomes, Row.GRID):
        key = (one.cell.latency_ms, one.cell.senders)
        if not one.cell.refused and (key not in best or one.rate > best[key].rate):
            best[key] = one
    panels = _by_latency([*best.values(), *(one for one in theirs if not one.cell.refused)])

    def lines(axes: Axes, some: Sequence[Outcome]) -> None:
        _lines(axes, some, lambda one: name_of(one.cell.row).partition(" (")[0], _per_minute, log=True)

    return _panels(panels, "mails a minute (log)", lines, x="senders, or workers")


def _by_latency(outcomes: Iterable[Outcome]) -> list[Panel]:
    found: dict[int, list[Outcome]] = {}
    for one in outcomes:
        found.setdefault(one.cell.latency_ms, []).append(one)
    return [(f"answers after {latency} ms", some) for latency, some in sorted(found.items())]


def _panels(
    panels: Sequence[Panel], label: str, fill: Callable[[Axes, Sequence[Outcome]], None], *, x: str = "senders"
) -> Figure | None:
    if not panels:
        return None
    figure = _figure(_HEIGHT)
    for axes, (title, some) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel(x)
        axes.margins(x=0.08)
        fill(axes, some)
        axes.yaxis.set_major_formatter(lambda value, _place: f"{value:,g}")
        axes.minorticks_off()
    figure.axes[0].set_ylabel(label)
    return figure


def _figure(height: float) -> Figure:
    # Here: numpy sets environment variables when it is imported, and importing us does nothing.
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _lines(
    axes: Axes,
    some: Sequence[Outcome],
    key: Callable[[Outcome], str],
    value: Callable[[Outcome], float],
    *,
    log: bool = False,
) -> None:
    lines: dict[str, list[Outcome]] = {}
    for one in some:
        lines.setdefault(key(one), []).append(one)
    ends: list[tuple[float, str, str]] = []
    for place, (name, line) in enumerate(sorted(lines.items(), key=lambda item: len(item[0]))):
        ordered = sorted(line, key=lambda one: one.cell.senders)
        senders, values = [one.cell.senders for one in ordered], [value(one) for one in ordered]
        axes.plot(senders, values, marker=_MARKERS[place % len(_MARKERS)], color=_COLOURS[place])
        ends.append((values[-1], name, _COLOURS[place]))
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    _sender_ticks(axes)
    _name_at_end(axes, ends)


def _name_at_end(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each line's name right of the plot at the height where it ends, a line of text apart from the next."""
    lowest = 0.0
    for end, name, colour in sorted(ends):
        height = axes.transAxes.inverted().transform(axes.transData.transform((1, end)))[1]
        lowest = max(lowest, height)
        axes.text(1.01, lowest, name, transform=axes.transAxes, va="center", color=colour, fontsize=8.5)
        lowest += _LINE_OF_TEXT


def _sender_ticks(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(SENDERS, [str(count) for count in SENDERS])
    axes.minorticks_off()


def _queues(one: Outcome) -> str:
    return f"{one.cell.queues} queue{'s' * (one.cell.queues > 1)}"


def _per_minute(one: Outcome) -> float:
    return one.rate * 60
