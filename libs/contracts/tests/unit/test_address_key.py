"""Keys of addresses: the same for everyone, for ever, and for every database."""

import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.ids import delivery_id


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("Bob.Smith+News@example.test", "bob.smith+news@example.test"),
        ("ZOË@example.test", "zoË@example.test"),
        ("Zoë@example.test", "zoë@example.test"),
        ("Straße@example.test", "straße@example.test"),
        ("ΑΒΣ@example.test", "ΑΒΣ@example.test"),
        ("\u0130I\u0131i@example.test", "\u0130i\u0131i@example.test"),
        ("用户@example.test", "用户@example.test"),
    ],
)
def test_only_a_to_z_are_folded(address: str, key: str) -> None:
    assert address_key(address) == key


@given(st.text())
@example("K@example.test")
def test_a_key_is_its_own_key_and_differs_in_ascii_letters_alone(text: str) -> None:
    key = address_key(text)
    assert address_key(key) == key
    assert len(key) == len(text)
    assert all(one == other or (one.isascii() and one.lower() == other) for one, other in zip(text, key, strict=True))


@given(st.text(st.characters(max_codepoint=127)))
def test_in_ascii_it_is_lower_case(text: str) -> None:
    assert address_key(text) == text.lower()


def test_no_letter_beyond_ascii_is_folded() -> None:
    """Such as İ, which becomes two characters in Python, one in some databases, and none in others."""
    beyond = "".join(map(chr, range(128, sys.maxunicode + 1)))
    assert address_key(beyond) == beyond


def test_a_delivery_has_the_id_of_its_key() -> None:
    email = "019b0000-0000-7000-8000-00000000000a"
    assert delivery_id(email, "Zoë@example.test") == delivery_id(email, "zoë@example.test")
    assert delivery_id(email, "ZOË@example.test") != delivery_id(email, "zoë@example.test")
    assert delivery_id(email, "straße@example.test") != delivery_id(email, "strasse@example.test")
    # Who publishes composes (ingest); two forms of a letter would be two deliveries.
    assert delivery_id(email, "zoë@x.test") != delivery_id(email, unicodedata.normalize("NFD", "zoë@x.test"))
