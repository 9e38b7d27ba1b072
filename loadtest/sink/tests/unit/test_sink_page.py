"""The pages: everything from a mail is shown, nothing of it is markup."""

import re

from mailwarren.sink import page
from mailwarren.sink.mailbox import Summary
from mailwarren.sink.message import Part, View
from mailwarren.sink.policy import Recipient
from mailwarren.sink.store import Delivery, Store

EVIL = "<script>alert('x')</script>\"'&"


def summary(**changes: object) -> Summary:
    plain: dict[str, object] = {
        "n": 3, "message_id": "<1@x>", "sender": "a@x.test", "recipients": ["b@y.test"], "subject": "Hello",
        "received_at": 1.0, "answered_at": 1.5, "size": 2048, "code": 250,
    }  # fmt: skip
    return Summary(**(plain | changes))


def evil_store() -> Store:
    store = Store()
    recipient = Recipient(b"u@<script>", b"<script>")
    store.receive(Delivery(b"", [recipient], b"<1>", b"", 1, 1.0, 250, 1, 1))
    return store


def test_nothing_from_a_mail_is_markup() -> None:
    evil = summary(message_id=EVIL, sender=EVIL, recipients=[EVIL, EVIL], subject=EVIL)
    content = View([(EVIL, EVIL)], EVIL, EVIL, [Part(EVIL, EVIL, 1)])
    for html in (page.index(evil_store().stats(), [evil], to=EVIL), page.mail(evil, content)):
        assert "<script" not in html
        assert "alert(&#x27;x&#x27;)" in html
        assert not re.search(r"""="[^"]*alert\('""", html)


def test_the_list_shows_the_mails_and_the_counts() -> None:
    html = page.index(evil_store().stats(), [summary(recipients=["b@y.test", "c@y.test"])], to="")
    assert '<a href="/view/3">Hello</a>' in html
    assert "b@y.test" in html and "+1" in html
    assert re.search(r"<b>1</b><span>unanswered</span>", html)


def test_an_empty_sink_says_so() -> None:
    assert "No mail yet." in page.index(Store().stats(), [], to="")


def test_the_reply_is_shown_only_when_it_was_given() -> None:
    content = View([], "text", None, [])
    assert "no answer" in page.mail(summary(answered_at=None), content)
    assert '<span class="bad">451</span>' in page.mail(summary(code=451), content)


def test_html_is_shown_in_a_sandbox_and_only_where_there_is_some() -> None:
    assert '<iframe sandbox="" src="/messages/3/html"' in page.mail(summary(), View([], None, "<p>", []))
    assert "<iframe" not in page.mail(summary(), View([], "text", None, []))
