"""Bugs to order: one function of a service raises what quotes the mail at hand, as a real bug might.

``python failing.py ingest api`` and ``python failing.py tracker consume`` are the services; Celery loads it as
``-A failing:app``. Only the bug is added; what becomes of the exception is the product's own.
"""

import sys
from typing import Any

from mailwarren.ingest.api import emails
from mailwarren.sender import transmit
from mailwarren.tracker import consume

_plain_validate, _plain_read = emails.validate_email, consume.read


def validate(body: Any) -> Any:
    if body.subject == "break ingest":
        known_here = {"body": body}
        raise ValueError(f"there is no way to validate {known_here}")
    return _plain_validate(body)


def build_mail(content: Any, delivery: Any, *_: Any, **__: Any) -> Any:
    text = content.text
    raise KeyError(f"{delivery.to} has no {text}")


def read(message: Any, *args: Any) -> Any:
    if message.source.name == "ACCEPTED":
        raise RuntimeError(message.body.decode())
    return _plain_read(message, *args)


emails.validate_email = validate
transmit.build_mail = build_mail
consume.read = read

if __name__ == "__main__":
    service = sys.argv.pop(1)
    if service == "ingest":
        from mailwarren.ingest.main import main as ingest

        sys.exit(ingest(sys.argv[1:]))
    from mailwarren.tracker.main import main as tracker

    tracker(sys.argv[1:])


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from mailwarren.sender import main

    return main.app
