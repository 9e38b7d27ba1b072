"""A real worker that kills itself in a batch of a broadcast: ``CRASH_AT=after_publish`` between confirm and commit.

``BATCH`` is how many contacts a batch has, ``CRASH_BATCH`` the number of the batch that it dies in. ``IMPORT_BATCH`` is
how many rows of a file one has.
"""

import os
import signal
import sys
from typing import Any

from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.expansions import Expansions
from mailwarren.ingest.main import main
from mailwarren.ingest.ops import expansion, importing

_place, _batch = os.environ.get("CRASH_AT", "nowhere"), int(os.environ.get("CRASH_BATCH", "3"))
_publish, _published = Broker.publish, Expansions.published
_calls: list[str] = []


def die_at(place: str) -> None:
    _calls.append(place)
    if place == _place and _calls.count(place) == _batch:
        os.kill(os.getpid(), signal.SIGKILL)


async def publish(self: Broker, *args: Any) -> Any:
    die_at("before_publish")
    return await _publish(self, *args)


async def published(self: Expansions, *args: Any) -> Any:
    die_at("after_publish")
    return await _published(self, *args)


Broker.publish = publish  # type: ignore[method-assign]
Expansions.published = published  # type: ignore[method-assign]
expansion.BATCH = int(os.environ.get("BATCH", "50"))
importing.BATCH = int(os.environ.get("IMPORT_BATCH", str(importing.BATCH)))

if __name__ == "__main__":
    sys.argv = ["ingest", "worker"]
    main()
