"""What is kept of the bodies of API calls: nothing that is to be kept secret."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.ingest.domain.api_logs import HIDDEN, KEPT, shown_body, shown_path, without_names

MAIL = {
    "from": "Ada Lovelace <ada@sender.test>",
    "to": ["Bob <bob@example.test>", "carol@example.test"],
    "reply_to": "replies@sender.test",
    "subject": "Your order",
    "html": "<p>secret words</p>",
    "text": "secret words",
    "tags": [{"name": "campaign", "value": "may"}],
    "headers": {"X-Ref": "secret words"},
    "metadata": {"order": "secret words"},
    "attachments": [{"filename": "a.txt", "content": "c2VjcmV0", "path": "https://files.test/a?sig=secret words"}],
    "priority": "high",
}


def shown(value: Any) -> Any:
    kept = shown_body(msgspec.json.encode(value))
    assert kept is not None
    return msgspec.json.decode(kept)


def test_a_mail_without_contents_names_and_values() -> None:
    assert shown(MAIL) == {
        "from": "a…@sender.test",
        "to": ["b…@example.test", "c…@example.test"],
        "reply_to": "r…@sender.test",
        "subject": "Your order",
        "html": "[19 characters]",
        "text": "[12 characters]",
        "tags": [{"name": "campaign", "value": "may"}],
        "headers": {"X-Ref": HIDDEN},
        "metadata": {"order": HIDDEN},
        "attachments": [
            {"filename": "a.txt", "content": "[8 characters]", "path": "https://files.test/a?… words"},
        ],
        "priority": "high",
    }


def test_secrets_are_hidden_whatever_their_fields_are_called() -> None:
    for name in ("token", "signing_secret", "Password", "apiKey", "api_key", "authorization", "private_key"):
        assert shown({name: "mw_abcdef"}) == {name: HIDDEN}
    assert shown({"id": "1", "token": "mw_abcdef"}) == {"id": "1", "token": HIDDEN}


def test_people_are_hidden_and_other_names_are_not() -> None:
    contact = {"email": "bob@x.test", "first_name": "Bob", "last_name": "Smith", "properties": {"city": "Ghent"}}
    assert shown(contact) == {
        "email": "b…@x.test", "first_name": HIDDEN, "last_name": HIDDEN, "properties": {"city": HIDDEN},
    }  # fmt: skip
    assert shown({"name": "news.example.test", "region": "eu"}) == {"name": "news.example.test", "region": "eu"}


def test_long_things_are_cut() -> None:
    found = shown({"to": [f"u{number}@x.test" for number in range(50)], "subject": "x" * 400})
    assert (len(found["to"]), found["to"][-1]) == (21, "[30 more]")
    assert found["subject"] == "x" * 300 + "…"
    assert shown_body(b"x" * (KEPT + 1)) == f'"[{KEPT + 1} bytes]"'
    assert shown_body(12345) == '"[12345 bytes]"'
    assert shown_body(b"") is None
    assert shown_body(b"{oh}") == '"[4 bytes that are no JSON]"'


def test_what_is_deep_ends() -> None:
    body = b"[" * 500 + b"]" * 500
    assert shown_body(body) is not None


def test_addresses_are_found_anywhere() -> None:
    assert shown_path("/contacts/bob.smith@x.test/topics") == "/contacts/b…@x.test/topics"
    assert shown_path("/emails") == "/emails"
    assert without_names("a link to https://x.test/bob@x.test") == "a link to https:/…@x.test"
    assert without_names("no mail to a@b.test, <c@d.test>!") == "no mail to a…@b.test, <c…@d.test>!"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
def test_any_json_is_kept_as_json(value: Any) -> None:
    kept = shown_body(msgspec.json.encode(value))
    assert kept is not None
    msgspec.json.decode(kept)
    assert "\x00" not in kept
