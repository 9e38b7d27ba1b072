"""The pages: everything from a mail is shown, nothing of it is markup."""

import re

from mailwarren.sink import page
from mailwarren.sink.mailbox import Summary
from mailwarren.sink.message import Part, View
from mailwarren.sink.page_script import script_cards
from mailwarren.sink.policy import Recipient
from mailwarren.sink.script import read_script
from mailwarren.sink.sites import Sites
from mailwarren.sink.store import Delivery, Store
from mailwarren.sink.timeline import Timeline

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


def test_the_script_is_shown_in_words_and_as_text() -> None:
    script = read_script(
        {
            "personas": [
                {"name": EVIL, "domains": ["*.x.test"], "rules": [{"stage": "rcpt", "code": 550}], "greylist_s": 9},
                {"hosts": ["127.0.0.2"], "tls": "expired", "connections": 5, "recipients_per_s": 2.5},
                {"domains": ["*"]},
            ],
            "timeline": [{"at_s": 60, "persona": {"like": "suspended", "domains": ["y.test"]}}],
        }
    )
    sites = Sites()
    sites.persona("big").answer(250, 1.0)
    events = Timeline(script.timeline, 1000.0).scheduled(1000.0)
    cards = script_cards(script, events, sites, 1000.0)
    html = page.index(Store().stats(), [], to="", scene=cards)
    assert "<script" not in html and "*.x.test" in html
    assert "rcpt 550, greylists 9 s" in html
    assert "at 127.0.0.2" in html and "TLS expired, 5 connections, 2.5 recipients/s" in html
    assert "takes everything" in html
    assert "in 60 s" in html and "never" in html and ">coming<" in html
    assert "<h2>Places</h2>" in html and "big" in html
    assert script_cards(read_script({}), [], Sites(), 0.0) == ""


def test_an_empty_sink_says_so() -> None:
    assert "No mail yet." in page.index(Store().stats(), [], to="")


def test_the_reply_is_shown_only_when_it_was_given() -> None:
    content = View([], "text", None, [])
    assert "no answer" in page.mail(summary(answered_at=None), content)
    assert '<span class="bad">451</span>' in page.mail(summary(code=451), content)


def test_html_is_shown_in_a_sandbox_and_only_where_there_is_some() -> None:
    assert '<iframe sandbox="" src="/messages/3/html"' in page.mail(summary(), View([], None, "<p>", []))
    assert "<iframe" not in page.mail(summary(), View([], "text", None, []))
