"""The bytes of a mail, read back by the standard library's parser as an independent reader."""

import email
import email.policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailwarren.contracts.parcel import Content, Delivery, Role, Syntax
from mailwarren.contracts.template import TemplateProblem
from mailwarren.contracts.testing import a_content, a_delivery
from mailwarren.sender.domain.render import Unbuildable, build_mail, encode_body

ACCEPTED = 1_780_000_000.0


def read(content: Content, delivery: Delivery | None = None, leave: str = "") -> EmailMessage:
    raw = build_mail(content, delivery or a_delivery(), ACCEPTED, leave)
    assert b"\r\n" in raw
    assert raw.replace(b"\r\n", b"").count(b"\n") == 0, "a bare LF"
    assert raw.replace(b"\r\n", b"").count(b"\r") == 0, "a bare CR"
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert not message.defects
    assert isinstance(message, EmailMessage)
    return message


def body(message: EmailMessage, kind: str) -> Any:
    part = message.get_body((kind,))
    assert part is not None
    assert not part.defects
    return part.get_content().replace("\r\n", "\n")


def test_a_mail_has_what_every_mail_needs() -> None:
    delivery = a_delivery("bob@example.test")
    message = read(a_content(reply_to=("help@sender.test",), headers={"X-Order": "17"}), delivery)
    assert message["From"] == "Ada <ada@sender.test>"
    assert message["To"] == "bob@example.test"
    assert message["Subject"] == "Hello"
    assert message["Message-ID"] == f"<{delivery.message_id}>"
    assert parsedate_to_datetime(message["Date"]).timestamp() == ACCEPTED
    assert message["Reply-To"] == "help@sender.test"
    assert message["X-Order"] == "17"
    assert message["MIME-Version"] == "1.0"
    assert body(message, "plain") == "Hello, you.\n"


def test_both_bodies_are_alternatives_plain_first() -> None:
    message = read(a_content(text="plain", html="<p>rich</p>"))
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert body(message, "html") == "<p>rich</p>\n"


def test_every_attempt_repeats_the_same_bytes() -> None:
    delivery, content = a_delivery(), a_content(text="a", html="b")
    assert build_mail(content, delivery, ACCEPTED) == build_mail(content, delivery, ACCEPTED)


def test_everyone_named_is_shown_but_bcc() -> None:
    content = a_content(to=("Bob <bob@x.test>", "eve@x.test"), cc=("Zoë <zoe@x.test>",), bcc=("hidden@x.test",))
    raw = build_mail(content, a_delivery("hidden@x.test", role=Role.BCC), ACCEPTED)
    message = read(content)
    assert message["To"] == "Bob <bob@x.test>, eve@x.test"
    assert message["Cc"] == "Zoë <zoe@x.test>"
    assert message["Bcc"] is None
    assert b"hidden" not in raw


@pytest.mark.parametrize(
    "name", ["Zoë Müller", "Анна Каренина", "山田太郎", "עדה לבלייס", 'Smith, "Bob"', "Dr. No", "🦊 " + "長い名前" * 20]
)
def test_names_in_any_script_survive(name: str) -> None:
    message = read(a_content(sender=f'"{name.replace(chr(34), chr(92) + chr(34))}" <a@sender.test>'))
    # This reader keeps the space between two encoded words of a phrase, which RFC 2047 §6.2 says to drop.
    assert "".join(message["From"].addresses[0].display_name.split()) == "".join(name.split())
    assert message["From"].addresses[0].addr_spec == "a@sender.test"


def test_an_address_beyond_ascii_goes_out_as_it_is_and_changes_nothing_else() -> None:
    """RFC 6532; names stay in RFC 2047, which every reader knows."""

    def made(local: str) -> bytes:
        delivery = a_delivery(f"{local}@x.test", id=UUID(int=1), email_id=UUID(int=2))
        content = a_content(
            sender=f"Zoë <{local}@x.test>", reply_to=(f"{local}@x.test",), to=(f"Zoë <{local}@x.test>", "a@x.test"),
            cc=(f'"Lovelace, Ada" <{local}@x.test>',), subject="Grüße", html="<p>Grüße", text="Grüße",
        )  # fmt: skip
        return build_mail(content, delivery, ACCEPTED)

    plain = made("local")
    assert plain.isascii()
    for local in ("zoë", "用户", "दादा", "עדה"):
        raw = made(local)
        assert raw == plain.replace(b"local@", f"{local}@".encode())
        message = email.message_from_string(raw.decode(), policy=email.policy.SMTPUTF8)
        assert not message.defects
        assert [one.addr_spec for name in ("From", "Reply-To", "To", "Cc") for one in message[name].addresses] == [
            f"{local}@x.test", f"{local}@x.test", f"{local}@x.test", "a@x.test", f"{local}@x.test",
        ]  # fmt: skip
        assert message["From"].addresses[0].display_name == "Zoë"


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\u2028\u2029"), max_size=300))
@example("ü" * 500)
@example("word " * 60)
@example("=?utf-8?q?tricky?=")
def test_any_subject_survives(subject: str) -> None:
    read_back = str(read(a_content(subject=subject))["Subject"] or "")
    if subject.startswith("=?"):
        return  # what looks encoded is decoded by readers; nobody can tell the two apart
    assert read_back.split() == subject.split()


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=3000))
@example("a" * 5000)
@example(".\n..\nfrom\n")
@example("tab\t \nspace \n")
@example("\u2028line sep")
def test_any_body_survives_its_encoding(text: str) -> None:
    encoding, raw = encode_body(text)
    part = email.message_from_bytes(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (encoding.encode(), raw)
    )
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    got = payload.decode().replace("\r\n", "\n")
    assert got == (expected if expected.endswith("\n") else expected + "\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(("length", "encoding"), [(900, "7bit"), (901, "quoted-printable"), (998, "quoted-printable")])
def test_a_line_that_servers_would_break_is_not_sent_as_it_is(length: int, encoding: str) -> None:
    # Sendmail breaks at 990 octets, Haraka at 992.
    assert encode_body("short\n" + "z" * length)[0] == encoding


@pytest.mark.parametrize("value", ["y" * 1200, "a word and " + "y" * 1200, "bell \x07", "esc \x1b[0m", "del \x7f"])
def test_what_no_header_may_hold_as_it_is_goes_encoded(value: str) -> None:
    content = a_content(syntax=Syntax.TEMPLATE, subject="{{ v }}")
    delivery = a_delivery(variables={"v": value})
    raw = build_mail(content, delivery, ACCEPTED)
    assert not set(raw.partition(b"\r\n\r\n")[0]) & set(b"\x07\x1b\x7f")
    assert str(read(content, delivery)["Subject"]) == value


def test_a_template_is_filled_and_escaped_in_html_only() -> None:
    content = a_content(
        syntax=Syntax.TEMPLATE, subject="Hi {{ name }}", text="{{ name }}", html="<p>{{ name }} {{{city|there}}}</p>"
    )
    message = read(content, a_delivery(variables={"name": "A & B"}))
    assert message["Subject"] == "Hi A & B"
    assert body(message, "plain") == "A & B\n"
    assert body(message, "html") == "<p>A &amp; B there</p>\n"


def test_literal_content_is_never_a_template() -> None:
    assert body(read(a_content(text="{{ not }} {% me %}")), "plain") == "{{ not }} {% me %}\n"


def test_a_variable_cannot_add_a_header() -> None:
    content = a_content(syntax=Syntax.TEMPLATE, subject="Hi {{ name }}")
    with pytest.raises(Unbuildable, match="line break"):
        build_mail(content, a_delivery(variables={"name": "x\r\nBcc: all@x.test"}), ACCEPTED)


hostile = st.text(
    st.sampled_from('\r\n\0\v\f\x1c\x85\u2028 \t:;,<>@"\\\\=?ab\u00fc\U0001f98a')
    | st.characters(blacklist_categories=("Cs",)),
    max_size=80,
)
FIELDS = ["From", "Date", "To", "Subject", "Message-ID", "Reply-To", "X-Own", "MIME-Version", "Content-Type"]


@given(subject=hostile, header=hostile, name=hostile, reply=hostile, to=hostile, variable=hostile)
@example("x\r\nBcc: all@x.test", "", "", "", "", "")
@example("", "x\r\n\r\nbody", "", "", "", "")
@example("", "", 'x"\r\nBcc: all@x.test\r\nX: "', "", "", "")
@example("", "", "", "a@x.test>\nBcc: <b", "", "")
@example("", "", "", "", "a@x.test\u2028Bcc: b@x.test", "")
@example("", "", "", "", "", "x\rBcc: all@x.test")
def test_no_value_ever_escapes_its_header(
    subject: str, header: str, name: str, reply: str, to: str, variable: str
) -> None:
    """Whatever stands in a parcel: the mail has the fields that it should have, or is not built."""
    content = a_content(
        syntax=Syntax.TEMPLATE,
        sender=f"{name} <ada@sender.test>",
        reply_to=(reply,),
        to=(to,),
        headers={"X-Own": header},
        subject=subject.replace("{", "(") + "{{ v }}",
        text="hello",
    )
    try:
        raw = build_mail(content, a_delivery(variables={"v": variable}), ACCEPTED)
    except (Unbuildable, TemplateProblem):
        return
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = [line.partition(b":")[0].decode() for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert [field for field in fields if field != "Content-Transfer-Encoding"] == FIELDS
    assert not set(head.replace(b"\r\n", b"")) & set(b"\r\n\0")
    assert body == b"hello\r\n"


def test_a_failing_template_says_so() -> None:
    content = a_content(syntax=Syntax.TEMPLATE, text="{{ 1 / zero }}")
    with pytest.raises(TemplateProblem, match="division"):
        build_mail(content, a_delivery(variables={"zero": 0}), ACCEPTED)


LINK = f"https://mail.example.org/u/{'x' * 430}"


def test_mail_to_a_list_says_how_to_leave_it() -> None:
    message = read(a_content(), leave=LINK)
    assert message["List-Unsubscribe"] == f"<{LINK}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "List-Unsubscribe" not in read(a_content())


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe-post"])
def test_a_header_of_the_callers_own_stands_alone(name: str) -> None:
    message = read(a_content(headers={name: "<mailto:leave@sender.test>"}), leave=LINK)
    assert [value for key, value in message.items() if key.lower().startswith("list-")] == [
        "<mailto:leave@sender.test>"
    ]


def test_a_template_shows_the_link_of_its_reader() -> None:
    content = a_content(
        text="{{{RESEND_UNSUBSCRIBE_URL}}}", html='<a href="{{ UNSUBSCRIBE_URL }}">x</a>', syntax=Syntax.TEMPLATE
    )
    message = read(content, a_delivery(variables={"UNSUBSCRIBE_URL": "https://evil.test"}), LINK)
    assert body(message, "plain") == f"{LINK}\n"
    assert body(message, "html") == f'<a href="{LINK}">x</a>\n'
