"""A real API that kills itself at one place: ``CRASH_AT=before_publish:3`` dies before its third publish."""

import os
import signal
import sys
from typing import Any

from mailwarren.ingest.main import main
from mailwarren.runtime.amqp import Publisher

_place, _, _nth = os.environ.get("CRASH_AT", "nowhere:1").partition(":")
_left = [int(_nth or 1)]
_plain = Publisher.publish


def die_at(place: str) -> None:
    if place == _place:
        _left[0] -= 1
        if _left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def publish(self: Publisher, *args: Any, **kwargs: Any) -> None:
    die_at("before_publish")
    await _plain(self, *args, **kwargs)
    die_at("after_publish")


Publisher.publish = publish  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.argv = ["ingest", "api"]
    main()
