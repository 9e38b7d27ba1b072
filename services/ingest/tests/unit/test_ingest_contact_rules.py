"""What is decided about contacts without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.ids import new_id
from mailwarren.ingest.api.app import _pattern, _precedence
from mailwarren.ingest.api.tables import ENDPOINTS
from mailwarren.ingest.domain.contacts import address_of, email_key, parse_contact
from mailwarren.ingest.domain.properties import (
    MAX_NUMBER,
    MAX_VALUE,
    Property,
    check_value,
    check_values,
    with_fallbacks,
)
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.store.states import PropertyType

LOCAL = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}", fullmatch=True)


def declared(key, kind, fallback=None):
    return Property(id=new_id(), key=key, type=kind, fallback=fallback, created_at=None)


@given(LOCAL, st.sampled_from(["example.test", "EXAMPLE.test", "Müller.example", "xn--mller-kva.EXAMPLE"]))
def test_letter_case_makes_no_other_contact_and_no_other_mailbox(local, domain):
    key = email_key(f"{local}@{domain}")
    assert key == email_key(f"{local.upper()}@{domain.lower()}") == parse_contact(f"{local}@{domain}")
    assert address_of(f"{local}@{domain}", key) == f"{local}@{key.rpartition('@')[2]}"
    assert key.isascii()


@pytest.mark.parametrize(
    "text", ["", "x", "@", "a@", "a b@example.test", "x" * 1000, "ada@example.test,bob@example.test"]
)
def test_a_path_that_names_nobody_is_refused(text):
    with pytest.raises(Refusal) as caught:
        parse_contact(text)
    assert (caught.value.status, caught.value.name) == (422, "invalid_parameter")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", PropertyType.STRING), ("x" * MAX_VALUE, PropertyType.STRING), (0, PropertyType.NUMBER),
        (-0.5, PropertyType.NUMBER), (MAX_NUMBER, PropertyType.NUMBER), (False, PropertyType.BOOLEAN),
    ],
)  # fmt: skip
def test_a_value_of_its_type_is_taken(value, kind):
    assert check_value(value, kind, "f") is value


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()), st.sampled_from(PropertyType))
def test_what_is_taken_is_of_its_type_and_nothing_else_crashes(value, kind):
    of_kind = {
        PropertyType.STRING: isinstance(value, str),
        PropertyType.NUMBER: isinstance(value, int | float) and not isinstance(value, bool),
        PropertyType.BOOLEAN: isinstance(value, bool),
    }
    bad = isinstance(value, str) and (len(value) > MAX_VALUE or "\x00" in value)
    bad |= isinstance(value, int | float) and not abs(value) <= MAX_NUMBER
    if of_kind[kind] and not bad:
        assert check_value(value, kind, "f") is value
    else:
        with pytest.raises(Refusal, match="`f` field"):
            check_value(value, kind, "f")


def test_a_template_gets_the_value_else_the_fallback_else_nothing():
    plan, seats, vip = (
        declared("plan", PropertyType.STRING, "free"),
        declared("seats", PropertyType.NUMBER, 1),
        declared("vip", PropertyType.BOOLEAN),
    )
    stored = check_values({"plan": "gold", "vip": False}, [plan, seats, vip])
    assert stored == {plan.place: "gold", vip.place: False}
    assert with_fallbacks(stored, [plan, seats, vip]) == {"plan": "gold", "seats": 1, "vip": False}
    assert with_fallbacks(stored | {new_id().hex: "of a deleted one"}, [plan]) == {"plan": "gold"}
    assert with_fallbacks({}, [plan, vip]) == {"plan": "free"}


def test_words_go_before_what_takes_any_word():
    paths = sorted({("GET", endpoint.path) for endpoint in ENDPOINTS} | {
        ("GET", "/v1/contacts/imports"), ("GET", "/v1/contacts/imports/{id}"),
    }, key=_precedence)  # fmt: skip
    order = [path for _, path in paths]
    for early, late in (
        ("/v1/emails/batch", "/v1/emails/{id}"),
        ("/v1/contacts/imports", "/v1/contacts/{contact}"),
        ("/v1/contacts/imports/{id}", "/v1/contacts/{contact}"),
        ("/v1/contacts/imports/{id}", "/v1/contacts/{contact}/topics"),
        ("/v1/contacts/{contact}/segments/{id}", "/v1/contacts/{contact}"),
        ("/v1/audiences/{audience}/contacts", "/v1/audiences/{id}"),
    ):
        assert order.index(early) < order.index(late)
    assert _pattern("/v1/contacts/{contact}/topics") == "/v1/contacts/{contact:path}/topics"
