"""From a body to an email: the rules that need nothing but the request."""

from datetime import UTC, datetime

import msgspec
import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Mark, OnUnknown, Role, Syntax
from mailwarren.ingest.domain.bulk import validate_bulk, validate_row
from mailwarren.ingest.domain.decoding import canonical, decode
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import BulkBody, EmailBody
from mailwarren.ingest.domain.validation import validate_email


def body(**changes):
    values = {"from": "Ada <ada@s.test>", "to": "bob@e.test", "subject": "Hi", "text": "x"} | changes
    return decode(msgspec.json.encode(values), EmailBody)


def email(**changes):
    return validate_email(body(**changes))


def bulk(**changes):
    values = {"from": "ada@s.test", "subject": "Hi {{ name }}", "text": "x", "recipients": [{"to": "a@b.test"}]}
    return decode(msgspec.json.encode(values | changes), BulkBody)


def row(mail, **values):
    return validate_row(mail, 3, msgspec.Raw(msgspec.json.encode({"to": "a@b.test"} | values)))


def test_defaults():
    found = email()
    assert (found.lane, found.on_unknown, found.expires_at) == (Lane.NORMAL, OnUnknown.RESEND, None)
    assert found.content.syntax is Syntax.LITERAL
    assert found.sender_domain == "s.test"
    assert (found.content.html, found.content.text) == (None, "x")


def test_our_additions():
    found = email(priority="high", on_unknown="fail", expires_at="2100-01-01T01:00:00+01:00", metadata={"a": "b"})
    assert (found.lane, found.on_unknown) == (Lane.HIGH, OnUnknown.FAIL)
    assert found.expires_at == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    assert found.recipients[0].metadata == {"a": "b"}


def test_null_means_absent_also_for_what_is_not_supported():
    assert email(cc=None, html=None, scheduled_at=None, attachments=None, tags=None, headers=None)


def test_an_empty_list_means_absent_also_for_what_is_not_supported():
    # As Laravel's transport over resend-php sends it with each mail; PHP's empty map is a list.
    found = email(cc=[], bcc=[], reply_to=[], headers=[], tags=[], attachments=[])
    assert (found.content.headers, found.content.cc, found.content.tags) == ({}, (), ())


def test_an_empty_text_beside_html_is_no_text():
    content = email(html="<b>x</b>", text="").content
    assert (content.html, content.text) == ("<b>x</b>", None)


def test_an_empty_subject_is_a_subject():
    assert not email(subject="").content.subject


def test_an_address_has_one_delivery_with_its_first_role_and_shows_where_it_was_named():
    found = email(to=["Bob <bob@e.test>", "BOB@E.test"], cc=["bob@e.test", "cy@e.test"], bcc=["Cy@e.test", "di@e.test"])
    assert [(item.address, item.role) for item in found.recipients] == [
        ("bob@e.test", Role.TO), ("cy@e.test", Role.CC), ("di@e.test", Role.BCC),
    ]  # fmt: skip
    assert found.recipients[0].mailbox == "Bob <bob@e.test>"
    assert found.content.to == ("Bob <bob@e.test>",)
    assert found.content.cc == ("bob@e.test", "cy@e.test")
    assert found.content.bcc == ("Cy@e.test", "di@e.test")


def test_50_recipients_are_possible_and_51_are_not():
    assert len(email(to=[f"p{n}@e.test" for n in range(30)], bcc=[f"q{n}@e.test" for n in range(20)]).recipients) == 50
    with pytest.raises(Refusal, match="50 addresses"):
        email(to=[f"p{n}@e.test" for n in range(30)], bcc=[f"q{n}@e.test" for n in range(21)])


def test_tags():
    assert email(tags=[{"name": "a-B_1", "value": "x"}, {"name": "b"}]).content.tags == (Mark("a-B_1", "x"), Mark("b"))
    for tag in ({"name": ""}, {"name": "a", "value": "a b"}, {"name": "x" * 257}, {"name": "ä"}):
        with pytest.raises(Refusal, match="tags"):
            email(tags=[tag])
    with pytest.raises(Refusal, match="more than 50"):
        email(tags=[{"name": "a"}] * 51)


@pytest.mark.parametrize(
    "metadata", [{"": "x"}, {"x" * 41: "x"}, {"x": "y" * 501}, {"x": "\x00"}, {f"k{n}": "x" for n in range(51)}]
)
def test_metadata_is_bounded(metadata):
    with pytest.raises(Refusal, match="metadata"):
        email(metadata=metadata)


def test_content_is_bounded_in_bytes():
    half = 256 * 1024
    assert email(html="a" * half, text="b" * half)
    with pytest.raises(Refusal, match=str(2 * half)):
        email(html="é" * half, text="b")


@pytest.mark.parametrize(
    ("raw", "name", "words"),
    [
        (b'{"from":"a"}', "missing_required_field", "Missing `to` field"),
        (b'{"from":1}', "validation_error", "Invalid `from` field: expected `str | null`, got `int`."),
        (b'{"from":"a","to":["x",1]}', "validation_error", "Invalid `to[1]` field"),
        (b'{"from":"a","tags":[{"value":"x"}]}', "missing_required_field", "Missing `tags[0].name` field"),
        (b'{"from":"a","tags":[{"name":"x","y":1}]}', "validation_error", "Unknown `tags[0].y` field"),
        (b'{"nope":1}', "validation_error", "Unknown `nope` field"),
        (b'{"topic_id":"1"}', "validation_error", "Invalid `topic_id` field"),
        (b'{"attachments":[{"name":"a"}]}', "validation_error", "Unknown `attachments[0].name` field"),
        (b'{"attachments":{}}', "validation_error", "Invalid `attachments` field"),
        (b'{"headers":["X-A: b"]}', "validation_error", "Invalid `headers` field: expected `object`, got `array`."),
        (b"7", "validation_error", "Invalid request body: expected `object`, got `int`."),
        (b'{"priority":"x"}', "validation_error", "Invalid `priority` field: invalid enum value 'x'."),
    ],
)
def test_msgspecs_findings_in_our_words(raw, name, words):
    with pytest.raises(Refusal) as caught:
        decode(raw, EmailBody)
    assert (caught.value.status, caught.value.name) == (422, name)
    assert words in caught.value.message


@pytest.mark.parametrize("field", ["from", "subject"])
@pytest.mark.parametrize("value", [{}, {"value": None}])
def test_what_only_a_template_could_stand_in_for(field, value):
    body = {"from": "a@b.test", "to": "a@b.test", "subject": "S", "text": "t"}
    body.pop(field)
    if value:
        body[field] = None
    with pytest.raises(Refusal, match=f"Missing `{field}` field.") as caught:
        validate_email(decode(msgspec.json.encode(body), EmailBody))
    assert (caught.value.status, caught.value.name) == (422, "missing_required_field")


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'"\\ud800"', b'"\\udc00"', b'["\\ud800","a"]', b"NaN", b"1e999"])
def test_what_is_no_json(raw):
    with pytest.raises(Refusal, match=r"not valid JSON|out of range"):
        decode(raw, object)


def test_an_unpaired_surrogate_is_said_to_be_one():
    with pytest.raises(Refusal, match="surrogate"):
        decode(b'{"from":"\\ud800"}', EmailBody)


def test_the_canonical_form_forgets_order_and_spaces():
    assert canonical(b'{"b": [1, 2],\n "a": "\\u00e9"}') == canonical('{"a":"é","b":[1,2]}'.encode())
    assert canonical(b'{"a":1}') != canonical(b'{"a":"1"}')
    assert canonical(b'{"a":123456789012345678901234567890}')


def test_bulk_needs_its_variables():
    mail = validate_bulk(bulk(text="{{ a.b }} {{ c|default(1) }} {{{D|x}}}", metadata={"k": "v", "l": "w"}))
    assert mail.lane is Lane.BULK
    with pytest.raises(Refusal, match=r"`a\.b`, `name`"):
        row(mail)
    found = row(mail, variables={"name": "Bo", "a": {"b": 1}}, metadata={"k": "own"})
    assert found.recipients[0].metadata == {"k": "own", "l": "w"}
    assert found.content is mail.content


def test_a_variable_may_not_break_the_subjects_line():
    mail = validate_bulk(bulk())
    for name in ("a\nb", "a\rb", "a\x00b", "x" * 999):
        with pytest.raises(Refusal):
            row(mail, variables={"name": name})
    plain = validate_bulk(bulk(subject="Hi"))
    assert row(plain, variables={"name": "a\nb"}).recipients[0].variables == {"name": "a\nb"}


@pytest.mark.parametrize("value", ["\x00", ["\x00"], {"\x00": 1}, {"a": ["b", {"c": "\x00"}]}])
def test_no_nul_hides_in_variables(value):
    with pytest.raises(Refusal, match="NUL"):
        row(validate_bulk(bulk(subject="Hi")), variables={"name": value})


@pytest.mark.parametrize("spelled", [rb"\u0000", rb"\\\u0000", rb"{[{[{[{[{[{[{[{[{[\u0000", b"\x00"])
def test_a_nul_is_found_however_it_is_spelled(spelled):
    raw = msgspec.Raw(b'{"to": "a@b.test", "variables": {"name": "x' + spelled + b'"}}')
    with pytest.raises(Refusal, match=r"NUL|not valid JSON"):
        validate_row(validate_bulk(bulk(subject="Hi")), 0, raw)


def nested(depth, inside="x"):
    return nested(depth - 1, [inside]) if depth else inside


def test_how_deep_variables_may_be_nested_and_that_brackets_in_texts_do_not_count():
    mail = validate_bulk(bulk(subject="Hi"))
    deepest = nested(16 - 1)
    assert row(mail, variables={"name": deepest, "text": "[{" * 100}).recipients[0].variables["name"] == deepest
    for text in ("", "[{" * 100):
        with pytest.raises(Refusal, match="nested deeper than 16"):
            row(mail, variables={"name": nested(16), "text": text})


def test_a_name_with_a_dot_is_an_attribute_and_not_a_variable_of_that_name():
    mail = validate_bulk(bulk(subject="Hi {{ user.name }}"))
    with pytest.raises(Refusal, match=r"needs `user\.name`"):
        row(mail, variables={"user.name": "Ada"})
    assert row(mail, variables={"user": {"name": "Ada"}})
