"""Which variables a template needs: what a row has to give so that no sender meets a hole."""

from typing import Any

import pytest

from mailwarren.contracts.template import TemplateProblem, missing_variables, render, required_variables

REQUIRED = [
    ("no variables at all", []),
    ("{{ name }}", ["name"]),
    ("{{ user.name }}", ["user.name"]),
    ("{{{NAME}}} {{{user.city}}}", ["NAME", "user.city"]),
    ("{{{NAME|you}}}", []),
    ("{{{user.name|you}}}", ["user"]),
    ("{{ name|default('you') }} {{ name|d('x') }}", []),
    ("{{ user.name|default('you') }}", ["user"]),
    ("{{ name|default(nick) }}", ["nick"]),
    ("{{ name|upper }}", ["name"]),
    ("{{ name.upper() }}", ["name"]),
    ("{{ user.name.split(' ')[0] }}", ["user.name"]),
    ("{{ items[0].name }}", ["items"]),
    ("{{ a + b * 2 }}", ["a", "b"]),
    ("{{ range(n) }}", ["n"]),
    # tested
    ("{% if name %}Hi {{ name }}{% endif %}", []),
    ("{% if user %}{{ user.name }}{% endif %}", []),
    ("{% if user.vip %}*{% endif %}", ["user"]),
    ("{% if user and user.vip %}{{ user.vip.level }}{% endif %}", []),
    ("{% if not name %}Hi{% else %}{{ name }}{% endif %}", []),
    ("{% if plan == 'pro' %}{{ seats }}{% endif %}", ["seats"]),
    ("{% if items|length > 3 %}many{% endif %}", []),
    ("{% if name.startswith('A') %}A{% endif %}", ["name"]),
    ("{% if name and name.startswith('A') %}A{% endif %}", []),
    ("{% if count > 3 %}many{% endif %}", ["count"]),
    ("{% if count and count > 3 %}many{% endif %}", []),
    ("{% if count - 1 == 3 %}four{% endif %}", ["count"]),
    ("{% if a %}{{ b }}{% elif c %}{{ c }}{{ d }}{% else %}{{ e }}{% endif %}", ["b", "d", "e"]),
    ("{% if a %}{% endif %}{{ a }}", ["a"]),
    ("{{ name if name else 'you' }}", []),
    ("{{ name or 'you' }} {{ a and b }}", ["b"]),
    ("{{ name is defined }} {{ user.x is undefined }}", ["user"]),
    # bound in the template
    ("{% for row in rows %}{{ row.name }}{{ loop.index }}{% endfor %}", ["rows"]),
    ("{% for k, v in d.items() %}{{ k }}{{ v.x }}{% endfor %}", ["d"]),
    ("{% for x in xs if x.on %}{{ x }}{% else %}{{ none_left }}{% endfor %}", ["none_left", "xs"]),
    ("{% for x in xs %}{% for y in x.ys %}{{ y.z }}{{ q }}{% endfor %}{% endfor %}", ["q", "xs"]),
    ("{{ x }}{% for x in xs %}{{ x.name }}{% endfor %}", ["x", "xs"]),
    ("{% for x in xs %}{% set last = x %}{% endfor %}{{ last }}", ["last", "xs"]),
    ("{% set total = price * 2 %}{{ total }}", ["price"]),
    ("{{ total }}{% set total = 1 %}{{ total }}", ["total"]),
    ("{% set a, b = pair %}{{ a }}{{ b }}", ["pair"]),
    ("{% set x %}{{ name }}{% endset %}{{ x }}", ["name"]),
    ("{% if vip %}{% set hi = 'Dear' %}{% else %}{% set hi = 'Hi' %}{% endif %}{{ hi }}", []),
    ("{% with t = price %}{{ t }}{% endwith %}{{ t }}", ["price", "t"]),
]


@pytest.mark.parametrize(("source", "expected"), REQUIRED, ids=[source for source, _ in REQUIRED])
def test_the_required_variables_are_found(source: str, expected: list[str]) -> None:
    assert expected == sorted(required_variables(source))


def fill(names: frozenset[str]) -> dict[str, Any]:
    """A row that gives the names and nothing else."""
    row: dict[str, Any] = {}
    for dotted in sorted(names, key=lambda name: name.count(".")):
        *heads, last = dotted.split(".")
        inner = row
        for head in heads:
            inner = inner.setdefault(head, {}) if isinstance(inner.get(head, {}), dict) else {}
        inner.setdefault(last, {})
    return row


@pytest.mark.parametrize("source", [source for source, _ in REQUIRED if "+" not in source and "*" not in source])
def test_a_row_with_the_required_names_has_nothing_missing_and_no_undefined_parent(source: str) -> None:
    row = fill(required_variables(source))
    assert missing_variables(required_variables(source), row) == []
    trouble = ""
    try:
        render(source, row, html=True)
    except TemplateProblem as problem:
        trouble = str(problem)
    # The filling is of a wrong type here and there; that a name is missing is what must not happen.
    assert "undefined" not in trouble


def test_missing_names_are_listed_in_order() -> None:
    required = required_variables("{{ b }}{{ a.x }}{{ a.y }}{{ c }}")
    assert missing_variables(required, {"a": {"y": 1}, "c": None}) == ["a.x", "b"]


def test_a_value_that_is_empty_is_not_missing() -> None:
    assert missing_variables(frozenset({"a", "b.c"}), {"a": "", "b": {"c": None}}) == []


def test_a_name_inside_of_a_text_is_missing() -> None:
    assert missing_variables(frozenset({"a.b"}), {"a": "text"}) == ["a.b"]


@pytest.mark.parametrize("source", ["{{ a", "{{ a|nofilter }}", "{% for a in b recursive %}{% endfor %}", "{% if %}"])
def test_a_template_that_could_not_be_rendered_is_refused_when_it_is_accepted(source: str) -> None:
    with pytest.raises(TemplateProblem, match="line 1"):
        required_variables(source)
