"""What a broadcast says: fixed at send, filled in for each contact, refused by name where it cannot be."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.template import render
from mailwarren.ingest.domain.broadcast_mail import email_to, nobody, prepare, preview, read_mail, variables_of
from mailwarren.ingest.domain.broadcasts import (
    BroadcastBody,
    BroadcastChange,
    check_change,
    check_new,
    check_tests,
)
from mailwarren.ingest.domain.contacts import Recipient
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.properties import Property
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.templates import (
    TemplateBody,
    Variable,
    VariableType,
    Version,
    names_needed,
)
from mailwarren.ingest.domain.templates import (
    check_new as check_template,
)
from mailwarren.store.states import PropertyType

SEGMENT = new_id()
WRITTEN = {"from_": "Ada <ada@sender.test>", "subject": "News", "segment_id": SEGMENT, "html": "<p>Hi</p>"}
DECLARED = [
    Property(id=new_id(), key="company", type=PropertyType.STRING, fallback=None, created_at=datetime.now(UTC)),
    Property(id=new_id(), key="visits", type=PropertyType.NUMBER, fallback=0, created_at=datetime.now(UTC)),
]
NOBODY = nobody(DECLARED)
BOB = Recipient(
    id=new_id(), address="bob@example.test", first_name="Bob", last_name=None, properties={"company": "Acme <Ltd>"}
)


def draft(**fields):
    return check_new(BroadcastBody(**WRITTEN | fields))


def mail(**fields):
    return prepare(draft(**fields), None, DECLARED, links=False)


def said(prepared, who=BOB):
    shown = preview(prepared, who)
    return shown.subject, shown.html, shown.text


def version(**fields):
    written = check_template(TemplateBody(**{"name": "n", "html": "<p>"} | fields))
    return Version(
        template=new_id(), number=1, id=new_id(), written=written, html=written.source,
        required=names_needed(written, written.source), created_at=datetime.now(UTC), published_at=None,
    )  # fmt: skip


def refusal(call, *arguments, **fields):
    with pytest.raises(Refusal) as caught:
        call(*arguments, **fields)
    return caught.value.status, caught.value.message


def test_a_mail_says_what_is_known_of_its_contact_or_the_fallback():
    prepared = mail(
        subject="{{{contact.first_name|friend}}} of {{{contact.company|nowhere}}}",
        html="<p>{{{contact.company}}} {{{FIRST_NAME|you}}} {{ EMAIL }} {{{LAST_NAME}}}|{{{LAST_NAME|-}}}</p>",
        text="{% if contact.last_name %}no{% else %}{{ contact.email }}{% endif %}",
    )
    assert said(prepared) == (
        "Bob of Acme <Ltd>",
        "<p>Acme &lt;Ltd&gt; Bob bob@example.test |-</p>",
        "bob@example.test",
    )
    assert said(prepared, NOBODY) == ("friend of nowhere", "<p> you  |-</p>", "")


def test_a_mail_carries_only_what_its_content_names():
    assert variables_of(mail(), BOB) == {}
    named = mail(text="{{ contact.company }} contact us at EMAIL")
    assert variables_of(named, BOB) == {"contact": {"company": "Acme <Ltd>"}}
    whole = mail(text="{% for key in contact %}{{ key }} {% endfor %}")
    assert set(variables_of(whole, BOB)["contact"]) == {"id", "email", "first_name", "last_name", "company", "visits"}


def test_what_is_stored_says_the_same():
    prepared = mail(subject="{{{contact.first_name|x}}}", text="{{ FIRST_NAME }}", preview_text="Soon")
    assert read_mail(msgspec.json.encode(prepared)) == prepared


def test_it_is_named_after_its_subject_which_may_have_a_tab():
    assert draft(subject="News\tof May").name == "News of May"


def test_mails_share_the_content_object_which_puts_them_into_one_parcel():
    prepared = mail(text="{{ contact.email }}")
    one, other = (email_to(prepared, who, Lane.BULK, None) for who in (BOB, NOBODY))
    assert one.content is other.content
    assert (one.recipients[0].address, one.lane, one.sender_domain) == ("bob@example.test", Lane.BULK, "sender.test")


def test_a_line_break_in_a_property_never_reaches_the_subject():
    prepared = mail(subject="For {{{contact.company|you}}}")
    who = msgspec.structs.replace(BOB, properties={"company": "A\r\nBcc: x@y.test\n\nB"})
    assert render(prepared.content.subject, variables_of(prepared, who), html=False) == "For A Bcc: x@y.test B"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"html": "<p>{{{contact.nick}}}</p>"}, "Unknown variables in `html`: `contact.nick` (line 1 of `html`)"),
        ({"text": "\n{{ NAME }}"}, "Unknown variables in `text`: `NAME` (line 2 of `text`)"),
        ({"subject": "{{{COUPON}}}"}, "Unknown variables in `subject`: `COUPON`"),
        ({"html": "{% if %}"}, "Invalid `html` field: the template cannot be read"),
        ({"html": "<a href='{{{RESEND_UNSUBSCRIBE_URL}}}'>"}, "MAILWARREN_LINK_KEYS"),
        ({"text": "{{ UNSUBSCRIBE_URL|default('') }}"}, "MAILWARREN_LINK_KEYS"),
        ({"html": None}, "Missing `html` or `text` field"),
        ({"subject": '{{ "%d"|format(contact.company) }}'}, "the subject cannot be rendered"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(fields, words):
    status, message = refusal(mail, **fields)
    assert status == 422
    assert words in message


def test_where_links_are_made_a_content_may_show_them():
    written = {"html": "<a href='{{{RESEND_UNSUBSCRIBE_URL}}}'>", "text": "{{{UNSUBSCRIBE_URL}}}"}
    prepared = prepare(draft(**written), None, DECLARED, links=True)
    assert said(prepared)[2] == "https://example.com/unsubscribe"
    # Its sender fills them in: they are not variables of the delivery.
    assert variables_of(prepared, BOB) == {}


def test_a_preview_text_stands_hidden_at_the_beginning_of_the_body():
    plain = mail(html="<p>Hi</p>", preview_text="1 < 2 for {{{contact.first_name|you}}}").content.html
    assert plain.startswith('<div style="display:none;')
    assert plain.endswith("</div><p>Hi</p>")
    page = mail(html="<html><BODY class=a><p>Hi</p>", preview_text="x")
    assert page.content.html.startswith("<html><BODY class=a><div style=")
    assert "1 &lt; 2 for Bob</div>" in said(mail(preview_text="1 < 2 for {{{contact.first_name|you}}}"))[1]


class TestTemplates:
    """Broadcasts of a stored template."""

    def prepared(self, variables=None, **fields):
        template = {
            "from_": "Shop <shop@sender.test>",
            "subject": "Hi {{{FIRST_NAME}}}",
            "html": "<p>{{{contact.company|-}}} {{{CODE}}} {{{UNTIL}}}</p>",
            "reply_to": "desk@sender.test",
            "variables": [
                Variable(key="FIRST_NAME", type=VariableType.STRING, fallback_value="friend"),
                Variable(key="CODE", type=VariableType.STRING),
                Variable(key="UNTIL", type=VariableType.NUMBER, fallback_value=7),
            ],
        } | fields
        body = {
            "segment_id": str(SEGMENT), "template": {"id": "spring", "variables": variables or {"CODE": "S1"}},
        }  # fmt: skip
        asked = check_new(decode(msgspec.json.encode(body), BroadcastBody))
        return prepare(asked, version(**template), DECLARED, links=False)

    def test_a_template_gives_content_and_defaults_and_the_contact_fills_it(self):
        prepared = self.prepared()
        assert (prepared.content.sender, prepared.content.reply_to) == (
            "Shop <shop@sender.test>", ("desk@sender.test",),
        )  # fmt: skip
        assert said(prepared)[:2] == ("Hi Bob", "<p>Acme &lt;Ltd&gt; S1 7</p>")
        assert said(prepared, NOBODY)[:2] == ("Hi friend", "<p>- S1 7</p>")

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"UNTIL": 3}, "Missing variables in `template.variables`: the template needs `CODE`"),
            ({"CODE": 5}, "Invalid `template.variables.CODE` field"),
            ({"CODE": "a", "contact": {}}, "`template.variables.contact`"),
        ],
    )
    def test_what_every_mail_would_lack_is_missing_now(self, variables, words):
        status, message = refusal(self.prepared, variables)
        assert status == 422
        assert words in message

    def test_content_beside_a_template_is_refused(self):
        body = {"segment_id": str(SEGMENT), "template": {"id": "spring"}, "html": "<p>"}
        _, message = refusal(check_new, decode(msgspec.json.encode(body), BroadcastBody))
        assert "`html` and `text` are the template's" in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"segment_id": None}, "Missing `segment_id` field"),
        ({"audience_id": new_id()}, "two names of one thing"),
        ({"from_": None}, "Missing `from` field"),
        ({"from_": "nobody"}, "Invalid `from` field"),
        ({"subject": None}, "Missing `subject` field"),
        ({"subject": "a\nb", "name": "n"}, "Invalid `subject` field"),
        ({"scheduled_at": "in 1 hour"}, "with `send: true` only"),
        ({"name": "x" * 201}, "Invalid `name` field"),
        ({"preview_text": "a\nb"}, "Invalid `preview_text` field"),
        ({"reply_to": ["x"]}, "Invalid `reply_to"),
        ({"html": "a\0b"}, "Invalid `html` field"),
    ],
)
def test_what_cannot_be_a_draft_is_refused_by_name(fields, words):
    status, message = refusal(check_new, BroadcastBody(**WRITTEN | fields))
    assert status == 422
    assert words in message


def test_the_older_name_of_a_segment_and_the_name_of_one_without():
    made = check_new(BroadcastBody(**WRITTEN | {"segment_id": None, "audience_id": SEGMENT}))
    assert (made.segment, made.name, made.lane) == (SEGMENT, "News", Lane.BULK)


def test_a_change_keeps_what_it_does_not_name_and_null_takes_away():
    topic = new_id()
    before = draft(topic_id=topic, name="a", reply_to="r@sender.test", preview_text="p")
    assert check_change(before, BroadcastChange()) == before
    after = check_change(before, BroadcastChange(topic_id=None, subject="Other", text="t", html=None, reply_to=None))
    assert (after.topic, after.subject, after.html, after.text, after.reply_to) == (None, "Other", None, "t", ())
    assert (after.name, after.preview_text, after.segment) == ("a", "p", SEGMENT)


def test_test_sends_have_one_to_ten_addresses():
    assert check_tests("Ada <ada@example.test>") == ["ada@example.test"]
    for wrong in ([], [f"a{n}@example.test" for n in range(11)], "x"):
        assert refusal(check_tests, wrong)[0] == 422


def test_a_contact_of_which_nothing_is_known_has_the_fallbacks_of_properties():
    assert (NOBODY.id, NOBODY.properties) == (UUID(int=0), {"visits": 0})
