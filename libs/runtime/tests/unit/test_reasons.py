"""A broker's refusals in words, whichever library brings them."""

import socket

import pytest

from mailwarren.runtime.reasons import broker_trouble

URL = "amqp://ada:p%40ss@broker.test/mail"


class AMQPError(Exception):
    """As the client libraries raise it."""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(111, "refused"), "no broker at broker.test:5672: "),
        (socket.gaierror(-2, "Name or service not known"), "no broker at broker.test:5672: "),
        (TimeoutError(), "no broker at broker.test:5672: TimeoutError"),
        (AMQPError("ACCESS_REFUSED - Login was refused"), "refused the user ada or the password"),
        (AMQPError(0, "NOT_ALLOWED - vhost mail not found"), "has no virtual host mail, or does not let ada in"),
        (AMQPError("ACCESS_REFUSED - read access to queue"), "denied something to the user ada"),
        (AMQPError("NOT_FOUND - no queue 'q' in vhost 'mail'"), "a queue is missing; run: mailwarren setup"),
        (AMQPError("NOT_FOUND - no exchange 'x'"), "an exchange is missing; run: mailwarren setup"),
        (AMQPError("whatever\nelse"), "AMQPError: whatever else"),
    ],
)
def test_the_words(error, says) -> None:
    assert says in broker_trouble(error, URL)


def test_a_password_never_shows() -> None:
    told = broker_trouble(OSError("cannot connect to amqp://ada:p%40ss@broker.test or with p@ss"), URL)
    assert "p@ss" not in told
    assert "p%40ss" not in told
