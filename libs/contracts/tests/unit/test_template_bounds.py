"""A template can neither reach Python nor keep a sender busy: whatever it says, it renders or is refused at once."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwarren.contracts.template import MAX_OUTPUT, MAX_SOURCE, TemplateProblem, render, required_variables

ROW: dict[str, Any] = {
    "x": 1,
    "name": "Ada",
    "user": {"name": "Ada", "tags": ["a", "b"]},
    "text": "x" * 100_000,
    "angles": "<" * 100_000,
    "list": [str(number) for number in range(50_000)],
    "rows": [{"name": f"n{number}", "price": number / 7} for number in range(1000)],
}


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ x.__init__ }}",
        "{{ nobody.__init__.__globals__ }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{{ range.__call__ }}",
        "{{ name.format }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ name.encode() }}",
        "{{ name.join }}",
        "{{ x.real }}",
        "{{ user.update({'a': 1}) }}",
        "{{ user.tags.append(1) }}",
        "{{ user.pop('name') }}",
        "{{ loop.__class__ }}{% for a in [1] %}{{ loop.__init__ }}{% endfor %}",
        "{{ self }}",
        "{{ self.__dict__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ cycler.__init__ }}",
        "{{ namespace() }}",
        "{{ [1]|map('attr', '__class__')|list }}",
        "{{ name|weigh }}",
        "{{ name|shown(-9) }}",
        "{% for a in name|each(-1) %}{% endfor %}",
        "{% set ns.a = 1 %}",
    ],
)
def test_python_is_out_of_reach(source: str) -> None:
    with pytest.raises(TemplateProblem):
        render(source, ROW, html=True)
    assert ROW["user"] == {"name": "Ada", "tags": ["a", "b"]}


def trouble(attempt: Callable[[], object]) -> str | None:
    """What a template is refused for, if it is."""
    try:
        attempt()
    except TemplateProblem as problem:
        return str(problem)
    return None


def loops(*counts: int, body: str = "") -> str:
    return "".join(f"{{% for i{n} in range({n}) %}}" for n in counts) + body + "{% endfor %}" * len(counts)


def repeat(statement: str, first: str, times: int = 60) -> str:
    return f"{{% set a = {first} %}}" + statement * times


HEAVY = {
    "three nested loops": loops(1000, 999, 998),
    "two loops of outputs": loops(1000, 999, body="{{ x }}"),
    "two loops of conditions": loops(1000, 999, body="{% if x == 2 %}{% endif %}"),
    "two loops of filters": loops(1000, 999, body="{% set y = x|string|upper %}"),
    "literal text in a captured loop": "{% set a %}" + loops(1000, 999, body="y" * 10_000) + "{% endset %}",
    "a loop over characters": "{% for c in text %}{% for d in text %}{% endfor %}{% endfor %}",
    "loops that select nothing": "{% for a in list if false %}{% endfor %}" * 300,
    "a text doubled by ~": repeat("{% set a = a ~ a %}", "'xxxxxxxx'"),
    "a text doubled by +": repeat("{% set a = a + a %}", "'xxxxxxxx'"),
    "a text doubled in a block": repeat("{% set a %}{{ a }}{{ a }}{% endset %}", "'xxxxxxxx'"),
    "a list doubled": repeat("{% set a = a + a %}", "[1]"),
    "lists in lists": repeat("{% set a = [a, a] %}", "[1]") + "{{ a }}",
    "lists in lists compared": repeat("{% set a = [a, a] %}{% set b = [b, b] %}", "[1]") + "{{ a == b }}",
    "lists in lists as JSON": repeat("{% set a = [a, a] %}", "[1]") + "{{ a|tojson }}",
    "tuples in tuples as a key": repeat("{% set a = (a, a) %}", "(1,)") + "{{ user[a] }}",
    "tuples in tuples as an argument": repeat("{% set a = (a, a) %}", "(1,)") + "{{ user.get(a) }}",
    "tuples in tuples as a spread argument": repeat("{% set a = (a, a) %}", "(1,)") + "{{ user.get(*[a]) }}",
    "tuples in tuples as a named argument": repeat("{% set a = (a, a) %}", "(1,)") + "{{ name|replace('a', new=a) }}",
    "lists in lists behind a mapping's values": repeat("{% set a = [a, a] %}", "[1]") + "{{ {'a': a}.values() }}",
    "tuples in tuples in a mapping": repeat("{% set a = (a, a) %}", "(1,)") + "{{ {a: 1}|length }}",
    "lists in lists that change": repeat("{% set a = [a, a] %}{% set b = [b, b] %}", "[1]")
    + "{% for i in [0, 1] %}{{ loop.changed(a if i else b) }}{% endfor %}",
    "mappings in mappings": repeat("{% set a = {'a': a, 'b': a} %}", "{}") + "{{ a }}",
    "a number squared": repeat("{% set a = a * a %}", "7") + "{{ a }}",
    "a great power": "{{ 9 ** (9 ** 9) }}",
    "a long repetition": "{{ 'a' * 10 ** 9 }}",
    "a long list": "{{ [0] * 10 ** 9 }}",
    "a long range": "{{ range(10 ** 9)|length }}",
    "a wide number": "{{ '%0999999999d' % 1 }}",
    "a wide number by filter": "{{ '%999999999d'|format(1) }}",
    "a width from an argument": "{{ '%*d'|format(999999999, 1) }}",
    "a wide number by name": "{{ '%(a)999999999d' % {'a': 1} }}",
    "a precise number": "{{ '%.999999999f' % 1.5 }}",
    "many long values": "{{ ('%s' * 1000)|format(text) }}{{ ('%s' * 1000) % rows }}",
    "a wide number by method": "{{ 'x{:999999999}'.format(1) }}",
    "a justified text": "{{ name.ljust(10 ** 9) }}",
    "a centred text": "{{ name|center(10 ** 9) }}",
    "a long literal in a captured loop": "{% set a %}"
    + loops(1000, body="{{ '" + "y" * 400_000 + "' }}")
    + "{% endset %}",
    "a method under another name": "{% set f = text.title %}" + loops(1000, 999, body="{% set y = f() %}"),
    "a method as an item": loops(1000, 999, body="{% set y = text['title']() %}"),
    "a long attribute of many values": "{{ rows|map(attribute='a.' * 40_000)|length }}",
    "a long attribute of a text's characters": "{{ text|sort(attribute='a')|length }}",
    "a huge number of another base": "{% set a = angles|replace('<', 'f')|int(0, 16) %}{{ a // 3 }}",
    "sums of huge numbers": repeat("{% set a = a + a %}", "7 ** 1300", 500),
    "huge numbers in a list": loops(1000, body="{% set y = ([7 ** 1300] * 1000)|string %}"),
    "many wide numbers": loops(1000, body="{% set y = ('%.99f' * 1000) % ((1e300,) * 1000) %}"),
    "bytes of a number": "{{ (1).to_bytes(10 ** 9, 'big') }}",
    "an exact rounding": "{{ 1.5|round(999999999, 'ceil') }}",
    "a long replacement": "{{ text|replace('x', text) }}",
    "a long separator": "{{ list|join(text) }}",
    "JSON with much indentation": "{{ rows|tojson(indent=10 ** 7) }}",
    "a sum of lists": "{{ [list, list]|sum(start=[]) }}",
    "a list sorted again and again": loops(999, body="{% set y = list|sort %}"),
    "a long text searched again and again": loops(999, body="{% if 'q' in text %}{% endif %}"),
    "a long text titled again and again": loops(999, body="{% set y = text|title %}"),
    "a long text split again and again": loops(999, body="{% set y = text.split('x') %}"),
    "a long text stripped of another": loops(999, body="{% set y = text.strip(angles ~ 'x') %}"),
    "a long text trimmed of another": loops(999, body="{% set y = text|trim(angles ~ 'x') %}"),
    "a long text sliced again and again": loops(999, body="{% set y = text[1:] %}"),
    "a long text escaped again and again": "{% set a %}" + loops(999, body="{{ angles }}") + "{% endset %}",
    "a test over a long list again and again": loops(999, body="{% if name is in(list) %}{% endif %}"),
    "deep parentheses": "{{ " + "(" * 5000 + "x" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "deep loops": "{% for a in [1] %}" * 40 + "{% endfor %}" * 40,
    "deep conditions": "{% if x %}" * 400 + "{% endif %}" * 400,
    "a long sum": "{{ " + "x + " * 3000 + "x }}",
    "many outputs": "{{x}}" * 150_000,
    "a long source": "x" * (MAX_SOURCE + 1),
    "a triple brace that never ends": "{{{ a |" + " " * 200_000,
    "only braces": "{" * 300_000,
    "unclosed comments": "{#" * 100_000,
}


@pytest.mark.parametrize("html", [True, False])
@pytest.mark.parametrize("source", HEAVY.values(), ids=HEAVY.keys())
def test_too_much_work_is_refused_within_a_second(source: str, *, html: bool) -> None:
    begin = time.process_time()
    with pytest.raises(TemplateProblem):
        render(source, ROW, html=html)
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize("source", HEAVY.values(), ids=HEAVY.keys())
def test_finding_the_variables_of_a_heavy_template_is_quick_too(source: str) -> None:
    begin = time.process_time()
    assert trouble(lambda: required_variables(source)) != ""
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    "cells",
    [
        "<td>{{ row.name }}</td><td>{{ row.price }}</td>" * 20,
        "<td>{{ row.name|upper }} {{ '%.2f'|format(row.price * 3) }}</td>" * 8,
        "<td>{{ loop.index }}</td><td>{% if row.price > 3 %}{{ row.name }}{% else %}-{% endif %}</td>" * 14,
    ],
)
def test_tables_of_real_mails_are_within_bounds(cells: str) -> None:
    rows = ROW["rows"][:100]
    page = render("{% for row in rows %}<tr>" + cells + "</tr>{% endfor %}", {"rows": rows}, html=True)
    assert page.count("<tr>") == 100


def test_of_a_condition_only_one_branch_is_paid() -> None:
    branch = "{% elif x == 2 %}" + "y" * 1000 + "{{ name|title }}"
    source = loops(200, body="{% if x == 1 %}" + branch * 30 + "{% endif %}")
    assert render(source, ROW, html=False) == ""


def test_what_stands_outside_of_loops_is_paid_too() -> None:
    for use in (required_variables, lambda source: render(source, ROW, html=False)):
        with pytest.raises(TemplateProblem, match="too much work"):
            use("{{ name|tojson|tojson }}" * 500)


def test_a_rendering_can_be_given_less_work() -> None:
    source = loops(10, body="{{ name }}")
    assert render(source, ROW, html=False, work=100_000) == "Ada" * 10
    with pytest.raises(TemplateProblem, match="too much work"):
        render(source, ROW, html=False, work=2000)


def test_the_output_is_bounded_in_bytes() -> None:
    whole = "x" * (MAX_OUTPUT - 6)
    assert len(render(whole + "{{ '€€' }}", ROW, html=False).encode()) == MAX_OUTPUT
    with pytest.raises(TemplateProblem, match=f"longer than {MAX_OUTPUT} bytes"):
        render(whole + "{{ '€€' }}.", ROW, html=False)
    # 2 KB that would be 2 MB in each of the hundreds of mails that a sender has in its hands.
    with pytest.raises(TemplateProblem, match=f"longer than {MAX_OUTPUT} bytes"):
        render(loops(1000, body="y" * 1990), ROW, html=True)


def test_half_of_a_surrogate_pair_is_a_problem_and_no_crash_later() -> None:
    with pytest.raises(TemplateProblem, match="surrogates"):
        render(r"{{ '\ud83d' }}{{ name }}", ROW, html=False)


def test_a_range_is_bounded() -> None:
    assert render("{{ range(1000)|length }}", {}, html=False) == "1000"
    with pytest.raises(TemplateProblem, match="range"):
        render("{{ range(1001)|length }}", {}, html=False)


def test_the_budget_is_for_each_rendering_and_not_for_all() -> None:
    source = loops(6, 900, body="{{ x }}")
    for _ in range(3):
        assert len(render(source, ROW, html=False)) == 5400


fragments = st.sampled_from(
    [
        "{{", "}}", "{%", "%}", "{{{", "}}}", "{#", "#}", " x ", "name", "user.name", "|", "upper", "default('a')",
        "join", "for a in user", "endfor", "if x", "elif name", "else", "endif", "set b = ", "endset", "range(3)",
        "(", ")", "[", "]", "'", '"', "1", "+", "*", "**", "~", "%", "is", "defined", "not", "and", "in", ".",
        "__class__", ",", "loop.index", "with", "endwith", "raw", "endraw", ":", "\n", "é", "recursive", "self", "true",
        "none", "=",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(fragments, max_size=14).map(" ".join) | st.text(max_size=40), st.booleans())
def test_any_text_renders_or_is_a_problem(source: str, html: bool) -> None:
    assert trouble(lambda: render(source, ROW, html=html)) != ""
    assert trouble(lambda: required_variables(source)) != ""


ATOMS = ["x", "name", "user", "user.tags", "rows[0]", "nobody", "1.5", "'a'", "none", "true", "-2", "10**20"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and"]
FILTERS = [
    "abs", "int", "float", "list", "sort", "unique|list", "sum", "join", "first", "last", "round", "title", "upper",
    "truncate(3)", "tojson", "dictsort", "items|list", "max", "reverse|list", "wordcount", "urlencode", "min", "trim",
    "filesizeformat", "replace('a', 'b')", "map(attribute='name')", "format(1)", "striptags", "length",
]  # fmt: skip
TESTS = ["defined", "odd", "mapping", "upper", "divisibleby(0)", "in('a')"]
expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("{}|{}".format, inner, st.sampled_from(FILTERS)),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("({} is {})".format, inner, st.sampled_from(TESTS)),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(expressions, st.booleans())
def test_any_expression_renders_or_is_a_problem(expression: str, html: bool) -> None:
    source = "{% for a in [1, 2] %}{{ " + expression + " }}{% endfor %}"
    assert trouble(lambda: render(source, ROW, html=html)) != ""
