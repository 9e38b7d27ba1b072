"""Mail with a template: what is sent, what the request overrides, and what is refused."""

from typing import NamedTuple

import pytest
import resend
from resend.exceptions import MissingRequiredFieldsError, ResendError, ValidationError

from mailwarren.contracts.parcel import Content, Delivery, Syntax
from mailwarren.contracts.template import render

pytestmark = pytest.mark.usefixtures("sdk")

TEMPLATE = {
    "name": "order",
    "alias": "order",
    "from": "Shop <shop@sender.test>",
    "subject": "Your {{{PRODUCT}}}",
    "reply_to": ["desk@sender.test"],
    "html": "<p title='{{{PRODUCT}}}'>{{{PRODUCT}}}: {{ PRICE }}</p>",
    "variables": [
        {"key": "PRODUCT", "type": "string", "fallback_value": "item"},
        {"key": "PRICE", "type": "number"},
    ],
}


@pytest.fixture
def order():
    made = resend.Templates.create(TEMPLATE)
    resend.Templates.publish(made["id"])
    return made["id"]


def wanted(**changes):
    return {"to": "bob@example.test", "template": {"id": "order", "variables": {"PRICE": 3}}} | changes


class Mail(NamedTuple):
    """What a sender makes of a delivery."""

    subject: str
    html: str
    content: Content
    delivery: Delivery


def sent(queues):
    """The mails in the send queues."""
    return [
        Mail(
            render(parcel.content.subject, delivery.variables, html=False),
            render(parcel.content.html, delivery.variables, html=True),
            parcel.content,
            delivery,
        )
        for parcel in queues.parcels()
        for delivery in parcel.deliveries
    ]


def test_the_published_version_is_sent_with_its_defaults_and_fallbacks(order, queues):
    answer = resend.Emails.send(wanted())
    [mail] = sent(queues)
    assert str(mail.delivery.email_id) == answer["id"]
    content = mail.content
    assert (content.syntax, content.sender, content.reply_to) == (
        Syntax.TEMPLATE, "Shop <shop@sender.test>", ("desk@sender.test",),
    )  # fmt: skip
    assert (content.html, content.to) == (TEMPLATE["html"], ("bob@example.test",))
    assert (mail.subject, mail.html) == ("Your item", "<p title='item'>item: 3</p>")


async def test_by_its_id_and_asynchronously(order, queues):
    variables = {"PRICE": 2.5, "PRODUCT": "<Tea> & \"x' onload='"}
    await resend.Emails.send_async(wanted(template={"id": order, "variables": variables}))
    [mail] = sent(queues)
    assert mail.subject == "Your <Tea> & \"x' onload='"
    escaped = "&lt;Tea&gt; &amp; &#34;x&#39; onload=&#39;"
    assert mail.html == f"<p title='{escaped}'>{escaped}: 2.5</p>"


def test_what_the_request_says_wins(order, queues):
    resend.Emails.send(
        wanted(**{"from": "Ada <ada@sender.test>", "subject": "{{ PRICE }} {% x", "reply_to": "other@sender.test"})
    )
    [mail] = sent(queues)
    assert (mail.content.sender, mail.content.reply_to) == ("Ada <ada@sender.test>", ("other@sender.test",))
    assert mail.subject == "{{ PRICE }} {% x", "the subject of a single mail is literal"
    assert "item: 3" in mail.html


def test_every_recipient_of_a_mail_gets_the_same(order, queues):
    resend.Emails.send(wanted(to=["bob@example.test", "carol@example.test"], bcc="dan@example.test"))
    mails = sent(queues)
    assert len(mails) == 3
    assert {mail.html for mail in mails} == {"<p title='item'>item: 3</p>"}
    assert {mail.content.to for mail in mails} == {("bob@example.test", "carol@example.test")}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"template": {"id": "order"}}, MissingRequiredFieldsError, r"the template needs `PRICE` \(line 1 of `html`\)"),
        ({"template": {"id": "order", "variables": {"PRICE": None}}}, MissingRequiredFieldsError, "needs `PRICE`"),
        ({"template": {"id": "order", "variables": {"PRICE": "3"}}}, ValidationError, "`template.variables.PRICE`"),
        (
            {"template": {"id": "order", "variables": {"PRICE": 1, "PRODUCT": "a\r\nBcc: eve@example.test"}}},
            ValidationError, "line break",
        ),
        ({"template": {"id": "order", "variables": {"PRICE": 1, "X": "x" * 33000}}}, ValidationError, "32768 bytes"),
        ({"template": {"id": "order", "variables": {"PRICE": 1, "X": "\0"}}}, ValidationError, "NUL"),
        ({"template": {"id": "\0"}}, ValidationError, "no published template"),
        ({"template": {"id": "x" * 100_000}}, ValidationError, "no published template"),
        ({"template": {"id": "nobody"}}, ValidationError, "`template.id` field: there is no published template"),
        ({"template": {"id": "order", "props": {}}}, ValidationError, "Unknown `template.props`"),
        ({"html": "<b>"}, ValidationError, "`html` field: with a `template`"),
        ({"text": "x"}, ValidationError, "`text` field: with a `template`"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_said(order, queues, change, kind, words):
    with pytest.raises(kind, match=words) as caught:
        resend.Emails.send(wanted(**change))
    assert caught.value.code == 422
    assert queues.parcels() == []


def test_a_draft_is_not_sent_and_a_change_only_when_it_is_published(queues):
    made = resend.Templates.create(TEMPLATE)
    with pytest.raises(ValidationError, match="no published template"):
        resend.Emails.send(wanted())
    resend.Templates.publish("order")
    resend.Templates.update({"id": made["id"], "subject": "new"})
    resend.Emails.send(wanted())
    assert sent(queues)[0].subject == "Your item"
    resend.Templates.publish("order")
    resend.Emails.send(wanted())
    assert sent(queues)[0].subject == "new"
    resend.Templates.remove("order")
    with pytest.raises(ValidationError, match="no published template"):
        resend.Emails.send(wanted())


def test_a_template_without_defaults_leaves_them_to_the_request(queues):
    made = resend.Templates.create({"name": "bare", "html": "<p>"})
    resend.Templates.publish(made["id"])
    body = {"to": "bob@example.test", "template": {"id": made["id"]}}
    with pytest.raises(MissingRequiredFieldsError, match="`from` field: the template has no default"):
        resend.Emails.send(body)
    with pytest.raises(MissingRequiredFieldsError, match="`subject` field: the template has no default"):
        resend.Emails.send(body | {"from": "ada@sender.test"})
    resend.Emails.send(body | {"from": "ada@sender.test", "subject": "S"})
    assert len(queues.parcels()) == 1


def test_a_key_that_may_not_use_the_templates_sender(order, new_caller, caller, monkeypatch, queues):
    monkeypatch.setattr(resend, "api_key", new_caller("sending_access", ["other.test"], caller.tenant).token)
    with pytest.raises(ResendError):
        resend.Emails.send(wanted())
    resend.Emails.send(wanted(**{"from": "ada@other.test"}))
    assert len(queues.parcels()) == 1
    with pytest.raises(ResendError) as caught:
        resend.Templates.list()
    assert caught.value.code == 401


def test_batches_strict_and_permissive(order, mail, queues):
    lacking = wanted(template={"id": "order"})
    with pytest.raises(MissingRequiredFieldsError, match=r"email 1 of the batch: Missing variables .* `PRICE`"):
        resend.Batch.send([wanted(), lacking])
    assert queues.parcels() == []
    answer = resend.Batch.send(
        [wanted(), lacking, mail, wanted(template={"id": "nobody"})], {"batch_validation": "permissive"}
    )
    assert [error["index"] for error in answer["errors"]] == [1, 3]
    assert "`PRICE`" in answer["errors"][0]["message"]
    assert sorted(parcel.content.syntax for parcel in queues.parcels()) == ["literal", "template"]


def test_bulk_calls_with_a_template(order, client, queues):
    rows = [
        {"to": "a@example.test", "variables": {"PRICE": 1}},
        {"to": "b@example.test", "variables": {"PRODUCT": "Tea"}},
        {"to": "c@example.test", "variables": {"PRICE": "x"}},
        {"to": "d@example.test", "variables": {"PRODUCT": "a\nb"}},
    ]
    body = {"template": {"id": "order", "variables": {"PRICE": 7}}, "recipients": rows}
    answer = client.post("/emails/bulk", json=body).json()
    assert [row["index"] for row in answer["data"]] == [0, 1]
    assert "`recipients[2].variables.PRICE`" in answer["errors"][0]["message"]
    assert "line break" in answer["errors"][1]["message"]
    mails = {mail.delivery.to: mail for mail in sent(queues)}
    assert mails["a@example.test"].html == "<p title='item'>item: 1</p>"
    assert mails["b@example.test"].html == "<p title='Tea'>Tea: 7</p>"
    assert mails["b@example.test"].subject == "Your Tea"

    del body["template"]["variables"]
    answer = client.post("/emails/bulk", json=body | {"recipients": rows[1:2]}).json()
    assert "the template needs `PRICE`" in answer["errors"][0]["message"]
    answer = client.post("/emails/bulk", json=body | {"subject": "{{ NAME }}", "recipients": rows[:1]}).json()
    assert "the template needs `NAME`" in answer["errors"][0]["message"], "a bulk call's own subject is a template"
    for change, words in (
        ({"html": "<b>"}, "`html` field: with a `template`"),
        ({"template": {"id": "nobody"}}, "no published template"),
        ({"template": {"id": "order", "variables": {"X": "x" * 5000}}}, "4096 bytes"),
    ):
        answer = client.post("/emails/bulk", json=body | change)
        assert (answer.status_code, words in answer.json()["message"]) == (422, True)


def test_a_repeated_call_makes_no_second_mail(order, queues):
    first = resend.Emails.send(wanted(), {"idempotency_key": "order-1"})
    again = resend.Emails.send(wanted(), {"idempotency_key": "order-1"})
    assert first["id"] == again["id"]
    assert len(queues.parcels()) == 1


def test_wire_forms_of_other_sdks(order, client, queues):
    body = wanted(
        html=None, text=None, subject=None, reply_to=None, template={"id": "order", "variables": {"PRICE": 1}}
    )
    assert client.post("/emails", json=body).status_code == 200
    assert len(queues.parcels()) == 1
    made = client.post("/templates", json=TEMPLATE | {"alias": None, "variables": [], "html": "x", "subject": "s"})
    assert made.status_code == 201
    path = f"/templates/{made.json()['id']}"
    assert client.post(f"{path}/publish").status_code == 200, "without a body"
    assert client.post(f"{path}/publish", content=b"[]").status_code == 200, "PHP's empty map"
    assert client.post(f"{path}/duplicate", content=b"{}").status_code == 201
    body["template"] = {"id": made.json()["id"], "variables": []}
    assert client.post("/emails", json=body).status_code == 200, "PHP's empty map"
