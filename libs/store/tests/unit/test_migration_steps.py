"""Every migration says whether it expands or contracts, and what follows from it for code of other versions."""

import pytest
from alembic.script import ScriptDirectory

from mailwarren.store.history import CONTRACT, EXPAND, judge, own_revisions, step_of
from mailwarren.store.scripts import config

SCRIPTS = list(ScriptDirectory.from_config(config()).walk_revisions())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.revision)
def test_a_migration_declares_its_step(script) -> None:
    step, serves = step_of(script)
    own = own_revisions()
    if step == CONTRACT:
        # It was made obsolete by an earlier release: code of this very revision is not the oldest that still works.
        assert own.index(serves) < own.index(script.revision)


def test_the_revisions_are_one_line() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [own_revisions()[-1]]
    assert own_revisions()[0] == "0001_tracker"


class Script:
    def __init__(self, **declared) -> None:
        self.revision = "0009_made_up"
        self.module = type("Module", (), declared)


@pytest.mark.parametrize("declared", [{}, {"step": "both"}, {"step": CONTRACT}, {"step": EXPAND, "serves": "0001"}])
def test_a_migration_that_declares_too_little_or_too_much_is_refused(declared) -> None:
    with pytest.raises(ValueError, match="0009_made_up"):
        step_of(Script(**declared))


OWN = ("1", "2", "3")


@pytest.mark.parametrize(
    ("current", "applied", "serves", "says"),
    [
        (None, [], [], "have not run"),
        ("2", ["1", "2"], [], "is at 2 and this version needs 3"),
        ("3", ["1", "2", "3"], [], None),
        ("5", ["1", "2", "3", "4", "5"], [], None),
        ("5", ["1", "2", "3", "4", "5"], ["3"], None),
        ("5", ["1", "2", "3", "4", "5"], ["2", "4"], "serves versions from 4 on; this one is of 3"),
        ("9", ["1", "2", "8", "9"], [], "does not come from 3"),
        ("9", [], [], "does not come from 3"),
    ],
)
def test_the_judgement_of_a_schema(current, applied, serves, says) -> None:
    found = judge(OWN, current, applied, serves)
    assert found is None if says is None else says in found
