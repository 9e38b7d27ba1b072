"""The built-in rows and the sites that have slots in the broker are the same."""

import tomllib
from importlib.resources import files

from mailwarren.contracts.sites import NAMED_SITES, SMARTHOST, site_trouble
from mailwarren.sender import smtp


def test_every_built_in_row_has_slots_and_every_slot_a_row() -> None:
    document = tomllib.loads((files("mailwarren.sender.rules") / "shaping.toml").read_text("utf-8"))
    assert set(document["sites"]) == set(NAMED_SITES)
    assert [site_trouble(name) for name in document["sites"] if site_trouble(name)] == []


def test_the_smarthost_is_called_the_same_on_both_sides() -> None:
    assert smtp.SMARTHOST == SMARTHOST
