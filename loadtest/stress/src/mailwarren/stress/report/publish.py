"""Writes the report into a folder, and reads its cells back."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mailwarren.stress.machine import Run
from mailwarren.stress.report import csv_file
from mailwarren.stress.report.markdown import page
from mailwarren.stress.result import Outcome

PAGE, CELLS, CSV = "README.md", "cells.jsonl", "cells.csv"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of the cells' file."""

    run: Run
    planned: int
    plots: dict[str, str]


def publish(folder: Path, run: Run, outcomes: Sequence[Outcome], *, planned: int) -> None:
    """Write plots, cells, CSV and, last, the page."""
    from mailwarren.stress.report.plots import draw

    folder.mkdir(parents=True, exist_ok=True)
    head = Head(run=run, planned=planned, plots=draw(outcomes, folder))
    (folder / CELLS).write_bytes(msgspec.json.Encoder().encode_lines([head, *outcomes]))
    for name, text in rendered(head, outcomes).items():
        (folder / name).write_text(text)


def rendered(head: Head, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The files of words and numbers, by name."""
    return {
        CSV: csv_file.text(outcomes),
        PAGE: page(head.run, outcomes, head.plots, planned=head.planned),
    }


def read(folder: Path) -> tuple[Head, list[Outcome]]:
    """The cells of a report."""
    first, *others = (folder / CELLS).read_bytes().splitlines()
    return msgspec.json.decode(first, type=Head), [msgspec.json.decode(line, type=Outcome) for line in others]
