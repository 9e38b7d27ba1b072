"""Whatever a mail says, its signatures verify elsewhere; whatever is changed on its way, they do not."""

import asyncio
import random
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mailwarren.contracts.dkim import ED25519
from mailwarren.contracts.parcel import Attachment, Content, Delivery, Role, Syntax
from mailwarren.contracts.template import TemplateProblem
from mailwarren.contracts.testing import a_content, a_delivery, a_parcel
from mailwarren.contracts.tracking import Tracking
from mailwarren.contracts.unsubscribe import Unsubscribe
from mailwarren.devstack.harness.dkim import KeyPair, as_received, dkimpy_says, make_pair, zone
from mailwarren.sender.adapters.dkim_keys import DomainKeys
from mailwarren.sender.adapters.private_keys import open_key
from mailwarren.sender.domain.mime import File
from mailwarren.sender.domain.render import Unbuildable, base64_lines
from mailwarren.sender.signing import mails as module
from mailwarren.sender.signing.batches import Batches
from mailwarren.sender.signing.mails import Signing

PAIRS = (make_pair("mw1"), make_pair("mw1e", ED25519))
RECORDS = zone("sender.test", *PAIRS)
NOISE = bytes(range(256)) * 40

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
LINES = st.lists(st.sampled_from(["", " ", "\t ", ".", "..", "a  b", "x\t", "-- ", "Grüße", "w" * 1200, "\0", "\x0b"]))
BODY = st.none() | TEXT | st.builds(str.join, st.sampled_from(["\n", "\r\n", "\r", "\n\r"]), LINES)
MAILBOX = st.sampled_from(
    [
        "ada@sender.test",
        "Ada Lovelace <ada@sender.test>",
        '"Lovelace, Ada" <ada@sender.test>',
        "Ådá <ada@sender.test>",
        "名前 <名前@例え.test>",
        f"{'Long Name ' * 12}<ada@sender.test>",
    ]
)
HEADERS = st.dictionaries(st.from_regex(r"X-[!-9;-~]{0,40}", fullmatch=True), TEXT, max_size=4)


class InPlace(Executor):
    """Runs at once."""

    def submit(self, fn, /, *args, **kwargs):
        done: Future = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def signer(*pairs: KeyPair, executor: Executor | None = None) -> Signing:
    keys = tuple(open_key(pair.key) for pair in pairs or PAIRS)
    return Signing(DomainKeys("sender.test", keys), Batches(executor or InPlace(), 1))


def sign(content: Content, delivery: Delivery | None = None, files=(), signing: Signing | None = None):
    """The mail as its server has it, and what is kept."""
    parcel = a_parcel(content=content, accepted_at=1_764_000_000.0)
    made = (signing or signer()).make_data(parcel, delivery or parcel.deliveries[0], files)
    data, kept = asyncio.run(made)
    wire = data if isinstance(data, bytes) else b"".join(map(bytes, data.parts))
    return as_received(wire), kept


@given(
    content=st.builds(
        a_content,
        sender=MAILBOX,
        subject=TEXT,
        html=BODY,
        text=BODY,
        to=st.lists(MAILBOX, max_size=3).map(tuple),
        cc=st.lists(MAILBOX, max_size=3).map(tuple),
        bcc=st.lists(MAILBOX, max_size=3).map(tuple),
        reply_to=st.lists(MAILBOX, max_size=2).map(tuple),
        headers=HEADERS,
    ),
    role=st.sampled_from(Role),
)
@settings(max_examples=150, deadline=None)
@example(a_content(text="", html=None, subject=""), Role.BCC)
@example(a_content(text=None, html=None), Role.TO)
@example(a_content(text="a\n\n\n\n", headers={"X-A": "  spaces   within\tand after  "}), Role.TO)
def test_what_is_built_verifies(content, role):
    try:
        mail, _ = sign(content, a_delivery(mailbox="Bob <bob@example.test>", role=role))
    except Unbuildable:
        assume(False)
    assert dkimpy_says(mail, RECORDS) == [True, True]
    assert b"\n" not in mail.replace(b"\r\n", b"")
    assert b"\r" not in mail.replace(b"\r\n", b"")


@given(variables=st.dictionaries(st.sampled_from(["name", "order"]), TEXT), html=st.booleans())
@settings(max_examples=50, deadline=None)
def test_what_is_personalised_verifies(variables, html):
    content = a_content(
        subject="Order {{ order }}",
        text="Hello {{ name }}\n",
        html="<p>Hello {{ name }}" if html else None,
        syntax=Syntax.TEMPLATE,
    )
    try:
        mail, _ = sign(content, a_delivery(variables=variables))
    except (TemplateProblem, Unbuildable):
        assume(False)
    assert dkimpy_says(mail, RECORDS) == [True, True]


@given(seed=st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("pair", PAIRS, ids=["rsa", "ed25519"])
def test_one_letter_changed_anywhere_does_not_verify(pair, seed):
    content = a_content(
        text="Some words.\n",
        html="<p>Some words.",
        headers={"List-Unsubscribe": "<https://sender.test/u/1>", "Keywords": "of", "Comments": "the caller"},
    )
    mail, _ = sign(content, signing=signer(pair))
    begin = mail.index(b" b=")
    value = range(begin, mail.index(b"\r\nFrom:"))  # the last letter of base64 holds bits that say nothing
    places = [at for at, octet in enumerate(mail) if chr(octet).isalnum() and at not in value]
    at = random.Random(seed).choice(places)
    changed = mail[:at] + (b"7" if mail[at : at + 1] != b"7" else b"q") + mail[at + 1 :]
    assert not any(dkimpy_says(changed, RECORDS))


@pytest.mark.parametrize(
    "field",
    [b"From: eve@evil.test", b"Subject: other", b"To: all@x.test", b"Cc: all@x.test", b"Reply-To: eve@evil.test",
     b"Date: Mon, 1 Jan 2024 00:00:00 +0000", b"Message-ID: <2@x.test>", b"Content-Type: text/html"],
)  # fmt: skip
@pytest.mark.parametrize("above", [True, False])
def test_no_second_important_field_can_be_added(field, above):
    mail, _ = sign(a_content())
    head, blank, body = mail.partition(b"\r\n\r\n")
    changed = b"%b\r\n%b%b%b" % (field, head, blank, body) if above else b"%b\r\n%b%b%b" % (head, field, blank, body)
    assert not any(dkimpy_says(changed, RECORDS))


def test_one_click_links_to_unsubscribe_are_covered():
    """RFC 8058 §4: without that, receivers show no button."""
    link = Unsubscribe(base="https://mail.test/u/", head=b"head", key=b"key")
    parcel = a_parcel(content=a_content(), unsubscribe=link)
    data, _ = asyncio.run(signer().make_data(parcel, parcel.deliveries[0], ()))
    mail = as_received(data)
    assert dkimpy_says(mail, RECORDS) == [True, True]
    for field in (b"List-Unsubscribe: <https://mail.test/u/", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click"):
        at = mail.index(b"\r\n" + field) + 2
        for changed in (
            mail[:at] + mail[mail.index(b"\r\n", at) + 2 :],
            mail[:at] + field.replace(b"=", b"-").replace(b"mail", b"evil") + mail[at + len(field) :],
            mail[:at] + b"List-Unsubscribe: <https://evil.test/>\r\n" + mail[at:],
            mail[:at] + b"List-Unsubscribe-Post: x\r\n" + mail[at:],
        ):
            assert dkimpy_says(changed, RECORDS) == [False, False]


def test_what_servers_put_on_top_breaks_nothing():
    mail, _ = sign(a_content())
    assert (
        dkimpy_says(b"Received: by mx.test\r\nReturn-Path: <a@b.test>\r\nX-Spam: no\r\n" + mail, RECORDS) == [True] * 2
    )


@pytest.mark.parametrize("html", [None, '<img src="cid:logo">'])
def test_mail_with_files_verifies_and_the_files_are_not_copied(html):
    encoded = memoryview(base64_lines(NOISE))
    files = [
        File(Attachment("a.bin", "application/octet-stream", "00" * 32, len(NOISE)), encoded),
        File(Attachment("logo.png", "image/png", "11" * 32, 4, "logo"), memoryview(base64_lines(b"\x89PNG"))),
        File(Attachment("empty.txt", "text/plain", "22" * 32, 0), memoryview(b"")),
    ]
    content = a_content(html=html, text="t\n\n")
    mail, _ = sign(content, files=files)
    assert dkimpy_says(mail, RECORDS) == [True, True]
    at = mail.index(bytes(encoded)[1000:1060])
    assert dkimpy_says(mail[:at] + b"!" + mail[at + 1 :], RECORDS) == [False, False]
    parcel = a_parcel(content=content)
    data, _ = asyncio.run(signer().make_data(parcel, parcel.deliveries[0], files))
    assert [part for part in data.parts if part is encoded]


def test_deliveries_of_one_content_share_the_hash_of_their_body(monkeypatch):
    hashed = []
    monkeypatch.setattr(module, "hash_body", lambda parts: hashed.append(parts) or "c2hhcmVk")
    signing = signer(PAIRS[1])
    parcel = a_parcel(to=[f"u{n}@x.test" for n in range(50)], content=a_content(html="<p>the same"))
    mails = [asyncio.run(signing.make_data(parcel, one, ()))[0] for one in parcel.deliveries]
    assert len(hashed) == 1
    assert len({mail.partition(b"\r\n\r\n")[2] for mail in mails}) == 1


@pytest.mark.parametrize("syntax", Syntax)
def test_a_later_attempt_repeats_the_octets_and_signs_nothing(syntax):
    content = a_content(html="<p>Hi", syntax=syntax)
    delivery = a_delivery()
    first, kept = sign(content, delivery)
    again, kept_again = sign(content, replace(delivery, signature=kept), signing=signer(*reversed(PAIRS)))
    assert sorted(first.split(b"\r\n")) == sorted(again.split(b"\r\n"))
    assert sorted(kept.split()) == sorted(kept_again.split())


def test_a_later_attempt_after_a_rotation_is_signed_with_the_new_key():
    rotated = make_pair("mw2")
    delivery = a_delivery()
    _, kept = sign(a_content(), delivery)
    mail, kept_again = sign(a_content(), replace(delivery, signature=kept), signing=signer(rotated))
    assert dkimpy_says(mail, zone("sender.test", rotated)) == [True]
    assert kept_again.startswith("mw2:")


def test_what_another_release_built_otherwise_is_signed_anew():
    delivery = a_delivery()
    _, kept = sign(a_content(text="as it was built then"), delivery)
    mail, _ = sign(a_content(text="as it is built now"), replace(delivery, signature=kept))
    assert dkimpy_says(mail, RECORDS) == [True, True]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


async def test_the_loop_turns_while_a_large_mail_is_hashed_and_signed(threads, monkeypatch):
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    hash_body = module.hash_body

    def slow(parts):
        loop.call_soon_threadsafe(begun.set)
        time.sleep(1.0)
        return hash_body(parts)

    monkeypatch.setattr(module, "hash_body", slow)
    parcel = a_parcel(content=a_content(text="x" * 100_000))
    task = asyncio.create_task(signer(executor=threads).make_data(parcel, parcel.deliveries[0], ()))
    await begun.wait()
    before = time.monotonic()
    await asyncio.sleep(0)
    assert time.monotonic() - before < 0.5
    data, _ = await task
    assert dkimpy_says(as_received(data), RECORDS) == [True, True]


def test_the_mails_of_a_tracked_parcel_verify_though_their_links_differ():
    tracking = Tracking(True, True, "https://links.sender.test", b"head", b"key")
    content = a_content(html='<a href="https://x.test">x</a>', tracking=tracking)
    signing, mails = signer(), []
    for delivery in (a_delivery("a@x.test"), a_delivery("b@x.test")):
        mail, kept = sign(content, delivery, signing=signing)
        assert dkimpy_says(mail, RECORDS) == [True, True]
        again, kept_again = sign(content, replace(delivery, signature=kept), signing=signing)
        assert (again, kept_again) == (mail, kept)
        mails.append(mail)
    assert mails[0] != mails[1]
    assert all(b"links.sender.test/t/" in mail for mail in mails)
