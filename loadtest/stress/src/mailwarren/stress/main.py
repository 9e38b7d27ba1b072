"""``mailwarren-stress``: measures the grid and writes the report; exit status 1 when something that must hold does not.

^C ends it with a report of what is done, and the same command goes on from there.
"""

import argparse
import fnmatch
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from mailwarren.stress.grid import Cell, cells

if TYPE_CHECKING:
    from mailwarren.stress.store import Store

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, report, judge."""
    asked = _parser().parse_args(argv)
    planned = [_scaled(cell, asked.scale) for cell in cells(quick=asked.quick) if _wanted(cell, asked.only)]
    if not planned:
        print(f"no cell is called {asked.only}; --list shows them", file=sys.stderr)
        return 2
    if asked.list:
        print("\n".join(cell.ident for cell in planned))
        return 0

    from mailwarren.devstack.state import LocalDir
    from mailwarren.stress import runner
    from mailwarren.stress.machine import commit
    from mailwarren.stress.progress import clock
    from mailwarren.stress.store import Store

    folder: Path = asked.folder or LocalDir.of_clone().path / "stress" / ("quick" if asked.quick else "full")
    if asked.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    store = Store(folder)
    before = store.run()
    if before and before.commit.rstrip("+") != commit().rstrip("+"):
        print(f"{folder} has cells of commit {before.commit}: --fresh (FRESH=1) measures all anew", file=sys.stderr)
        return 2
    left = [cell for cell in planned if cell not in [one.cell for one in store.outcomes(planned)]]
    seconds = sum(cell.expected_seconds for cell in left)
    print(f"{len(planned)} cells, {len(left)} to measure: about {clock(seconds)}. Cells: {folder}", file=sys.stderr)
    interrupted = False
    _interrupt_once()
    try:
        if left:
            runner.run(store, planned, command=_command(asked), quick=asked.quick)
    except KeyboardInterrupt:
        interrupted = True
    return _report(store, planned, asked.publish, interrupted=interrupted)


def _report(store: "Store", planned: Sequence[Cell], publish_to: Path | None, *, interrupted: bool) -> int:
    """Write what there is, say what holds; returns the exit status."""
    from mailwarren.stress.report.publish import publish
    from mailwarren.stress.verdicts import verdicts

    run, outcomes = store.run(), store.outcomes(planned)
    if run is None or not outcomes:
        print("Nothing was measured.", file=sys.stderr)
        return _INTERRUPTED if interrupted else 1
    report = publish_to or store.folder / "report"
    publish(report, run, outcomes, planned=len(planned))
    found = verdicts(outcomes)
    for one in found:
        print(f"{'PASS' if one.holds else 'FAIL'} {one.name} ({one.looked} looked at)")
        for failure in one.failures:
            print(f"     {failure}")
    print(f"Report ({len(outcomes)} of {len(planned)} cells): {report / 'README.md'}")
    if interrupted:
        return _INTERRUPTED
    return 0 if all(one.holds for one in found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mailwarren-stress", description="Measures the stress grid, cell by cell.")
    parser.add_argument("--quick", action="store_true", help="fewer mails a cell: the same questions in half an hour")
    parser.add_argument("--only", metavar="GLOBS", help="cells whose name fits one, such as 'grid-s1-q9-* steady-*'")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer mails in every cell (default 1)")
    parser.add_argument("--list", action="store_true", help="name the cells, and measure nothing")
    parser.add_argument("--fresh", action="store_true", help="forget the cells that are done")
    parser.add_argument("--folder", type=Path, help="where the cells are kept (default .local/stress/full or quick)")
    parser.add_argument("--publish", type=Path, metavar="FOLDER", help="write the report there (docs/stress)")
    return parser


def _command(asked: argparse.Namespace) -> str:
    """What to type to measure the same."""
    scale = f" SCALE={asked.scale:g}" if asked.scale != 1.0 else ""
    only = f" ONLY='{asked.only}'" if asked.only else ""
    return f"make stress{' QUICK=1' if asked.quick else ''}{only}{scale}"


def _wanted(cell: Cell, only: str | None) -> bool:
    return only is None or any(fnmatch.fnmatch(cell.ident, glob) for glob in only.split())


def _scaled(cell: Cell, scale: float) -> Cell:
    return msgspec.structs.replace(cell, mails=max(1, round(cell.mails * scale)))


def _interrupt_once() -> None:
    """The first ^C or SIGTERM ends the run; one more may not disturb the end of its processes."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("\nStopping what runs; a report follows.", file=sys.stderr, flush=True)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
