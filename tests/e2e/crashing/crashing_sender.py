"""A real sender that kills itself at one place of its code: ``CRASH_AT=<place>:<n>`` dies the n-th time it gets there.

Celery loads it as ``-A crashing_sender:app``. Only the moment of death is added; every step is the product's own. With
``SUSPECT_AFTER=0`` every parcel is one that may kill senders.
"""

import os
import signal
from typing import Any

from mailwarren.sender import suspects
from mailwarren.sender.adapters.ladder import LadderWriter
from mailwarren.sender.adapters.outcomes import OutcomeWriter
from mailwarren.sender.adapters.questions import Asker
from mailwarren.sender.engine.handover import Handover

_place, _, _nth = os.environ.get("CRASH_AT", "nowhere:1").partition(":")
_left = [int(_nth or 1)]


def die_at(place: str) -> None:
    if place == _place:
        _left[0] -= 1
        if _left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def around(owner: type, name: str, place: str) -> None:
    """Die before or after an async method."""
    plain = getattr(owner, name)

    async def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        die_at(f"before_{place}")
        result = await plain(self, *args, **kwargs)
        die_at(f"after_{place}")
        return result

    setattr(owner, name, wrapped)


def ack(self: Handover, _plain: Any = Handover.flush) -> None:
    if self._back:
        die_at("before_ack")
    _plain(self)
    die_at("after_ack")


around(OutcomeWriter, "_publish_batch", "outcomes")
around(LadderWriter, "put", "ladder")
around(LadderWriter, "park", "park")
around(Asker, "ask", "question")
around(OutcomeWriter, "report", "report")
around(suspects.Insurance, "take", "successor")
suspects.SUSPECT_AFTER = int(os.environ.get("SUSPECT_AFTER", suspects.SUSPECT_AFTER))
Handover.flush = ack  # type: ignore[method-assign]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from mailwarren.sender import main

    return main.app
