"""The cells of a run as files: what a run that was stopped goes on from."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mailwarren.stress.grid import Cell
from mailwarren.stress.machine import Run
from mailwarren.stress.result import Outcome

_RUN = "run.json"
_CELLS = "cells"


class Store:
    """One folder for one run.

    Args:
        folder: is made when it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / _CELLS).mkdir(parents=True, exist_ok=True)

    def run(self) -> Run | None:
        """What is known about the run; None of one that has not begun."""
        path = self.folder / _RUN
        return msgspec.json.decode(path.read_bytes(), type=Run) if path.exists() else None

    def begin(self, run: Run) -> None:
        """Keep what is known about it."""
        _write(self.folder / _RUN, msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")

    def keep(self, outcome: Outcome) -> None:
        """A cell is done. One whose ledger differs is kept too: it is shown, and not measured again."""
        _write(self.folder / _CELLS / f"{outcome.cell.ident}.json", msgspec.json.encode(outcome) + b"\n")

    def outcomes(self, planned: Sequence[Cell]) -> list[Outcome]:
        """Those of ``planned`` that are done, in that order; one of another size does not count."""
        found = []
        for cell in planned:
            path = self.folder / _CELLS / f"{cell.ident}.json"
            if path.exists():
                one = msgspec.json.decode(path.read_bytes(), type=Outcome)
                found += [one] * (one.cell == cell)
        return found


def _write(path: Path, content: bytes) -> None:
    # Renamed into place: a run that is killed leaves whole files only.
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
