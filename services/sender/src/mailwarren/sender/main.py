"""``celery -A mailwarren.sender.main:app worker -P solo -c 1 -Q …``: the composition root.

``app`` is made when it is first asked for, so importing this module reads no environment and connects to nothing.
"""

from typing import Any

_made: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    if name not in _made:
        from mailwarren.runtime.settings import load
        from mailwarren.sender.engine.app import build_app
        from mailwarren.sender.settings import SenderSettings

        _made[name] = build_app(load(SenderSettings, "sender"))
    return _made[name]
