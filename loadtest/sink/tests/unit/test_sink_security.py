"""AUTH and STARTTLS, as far as the dialogue decides about them."""

from collections.abc import Callable
from typing import Any

import pytest

Converse = Callable[..., Any]

PLAIN = "AGpvZQBzZWNyZXQ="  # \0joe\0secret
CREDENTIALS = (b"joe", b"secret")


def test_mail_needs_authentication_when_credentials_are_set(converse: Converse) -> None:
    client = converse(credentials=CREDENTIALS)
    assert client.say("EHLO x")[-1] == "250 AUTH PLAIN LOGIN"
    assert client.codes(
        "MAIL FROM:<a@x.test>", f"AUTH PLAIN {PLAIN}", "MAIL FROM:<a@x.test>", f"AUTH PLAIN {PLAIN}"
    ) == [530, 235, 250, 503]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["AUTH PLAIN", PLAIN], [334, 235]),
        (["auth plain " + PLAIN], [235]),
        (["AUTH LOGIN", "am9l", "c2VjcmV0"], [334, 334, 235]),
        (["AUTH LOGIN am9l", "c2VjcmV0"], [334, 235]),
        (["AUTH PLAIN", "*", "NOOP"], [334, 501, 250]),
        (["AUTH PLAIN !!", "NOOP"], [501, 250]),
        (["AUTH PLAIN =", "AUTH PLAIN am9l"], [501, 501]),
        (["AUTH PLAIN AGpvZQB3cm9uZw==", "AUTH LOGIN", "am9l", "d3Jvbmc="], [535, 334, 334, 535]),
        (["AUTH", "AUTH CRAM-MD5"], [501, 504]),
    ],
)
def test_auth_exchanges(converse: Converse, lines: list[str], codes: list[int]) -> None:
    assert codes == converse(credentials=CREDENTIALS).codes(*lines)


def test_auth_waits_for_tls_where_tls_is_offered(converse: Converse) -> None:
    client = converse(credentials=CREDENTIALS, offers_tls=True)
    assert client.say("EHLO x")[-1] == "250 STARTTLS"
    assert client.codes(f"AUTH PLAIN {PLAIN}") == [538]
    assert client.codes("STARTTLS") == [220]
    client.dialogue.secured()
    assert client.codes(f"AUTH PLAIN {PLAIN}", "MAIL FROM:<a@x.test>") == [503, 503]
    assert client.say("EHLO x")[-1] == "250 AUTH PLAIN LOGIN"
    assert client.codes(f"AUTH PLAIN {PLAIN}", "STARTTLS") == [235, 503]


def test_nothing_pipelined_before_tls_counts_after_it(converse: Converse) -> None:
    client = converse(offers_tls=True)
    client.say("MAIL FROM:<a@x.test>")
    assert client.codes("STARTTLS", "EHLO evil", "MAIL FROM:<evil@x.test>") == [220]
    assert client.wire.ended == ["tls"]
    client.dialogue.secured()
    assert client.codes("RCPT TO:<b@y.test>", "EHLO x", "MAIL FROM:<a@x.test>") == [503, 250, 250]


def test_starttls_needs_ehlo_and_no_argument(converse: Converse) -> None:
    client = converse(offers_tls=True, hello=False)
    assert client.codes("STARTTLS", "HELO x", "STARTTLS", "EHLO x", "STARTTLS now") == [503, 250, 503, 250, 501]
