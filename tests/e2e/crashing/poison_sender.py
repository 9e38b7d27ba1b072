"""A real sender that dies of some mail: to build one for ``poison…@`` kills the process, as a bug in a C library would.

Celery loads it as ``-A poison_sender:app``.
"""

import os
import signal
from typing import Any

from mailwarren.sender import transmit

_plain = transmit.build_mail


def build_mail(content: Any, delivery: Any, *rest: Any) -> Any:
    if delivery.to.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return _plain(content, delivery, *rest)


transmit.build_mail = build_mail


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from mailwarren.sender import main

    return main.app
