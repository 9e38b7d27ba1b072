"""Outcomes as a run would measure them, for the pure parts."""

from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.stress.grid import Cell, Row
from mailwarren.stress.result import Outcome, Spread

Made = Callable[..., Outcome]


@pytest.fixture
def made() -> Made:
    """An outcome with ``rate`` mails a second; more fields by name, of the cell too."""

    def make(rate: float = 1000.0, **fields: Any) -> Outcome:
        known = {name: fields.pop(name) for name in Cell.__struct_fields__ if name in fields and name != "refused"}
        share = fields.pop("refused", 0.0)
        cell = Cell(**({"row": Row.GRID, "senders": 1, "queues": 9} | known), refused=share)
        refused = round(cell.mails * share)
        times = Spread(count=cell.mails, mean=2.0, p50=1.9, p95=3.8, p99=4.0, most=4.1)
        values: dict[str, Any] = {
            "cell": cell,
            "began": "2026-11-22T12:00:00+00:00",
            "seconds": cell.mails / rate,
            "accept_seconds": 1.0,
            "delivered": cell.mails - refused,
            "refused": refused,
            "completion": times,
            "accept": times,
            "sustained": rate,
            "cpu": {"client": 5.0, "ingest": 20.0, "sender": 140.0, "watch": 10.0},
            "busy": {"ingest": 0.1, "sender": 0.3, "broker": 0.2},
            "machine": 0.7,
            "cores": 2,
            "curve": [(0.0, 0, 0), (1.0, cell.mails, 10), (cell.mails / rate, 0, 0)],
            "attempts": {"1": cell.mails},
        }
        return Outcome(**(values | fields))

    return make
