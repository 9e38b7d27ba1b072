"""A real scheduler that kills itself at one place: ``CRASH_AT=after_publish`` between the confirm and its commit."""

import os
import signal
import sys
from typing import Any

from mailwarren.ingest.adapters.broker import Broker
from mailwarren.ingest.adapters.releases import Releases
from mailwarren.ingest.main import main

_place = os.environ.get("CRASH_AT", "nowhere")
_publish, _released = Broker.publish, Releases.released


def die_at(place: str) -> None:
    if place == _place:
        os.kill(os.getpid(), signal.SIGKILL)


async def publish(self: Broker, *args: Any) -> Any:
    die_at("before_publish")
    return await _publish(self, *args)


async def released(self: Releases, rows: Any) -> None:
    if rows:
        die_at("after_publish")
    await _released(self, rows)


Broker.publish = publish  # type: ignore[method-assign]
Releases.released = released  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv = ["ingest", "scheduler"]
    main()
