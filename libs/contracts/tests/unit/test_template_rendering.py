"""What a template renders to."""

from typing import Any

import pytest

from mailwarren.contracts.template import TemplateProblem, render, uses_template_syntax


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("Hi {{ name }}", {"name": "Боб"}, "Hi Боб"),
        ("Hi {{ user.first }}", {"user": {"first": "Ada"}}, "Hi Ada"),
        ("Hi {{{NAME}}}", {"NAME": "Ada"}, "Hi Ada"),
        ("Hi {{{ NAME }}}!", {"NAME": "Ada"}, "Hi Ada!"),
        ("Hi {{{NAME|you}}}", {}, "Hi you"),
        ("Hi {{{NAME|you}}}", {"NAME": ""}, "Hi you"),
        ("Hi {{{NAME|you}}}", {"NAME": None}, "Hi you"),
        ("Hi {{{NAME | dear friend }}}", {}, "Hi dear friend"),
        ("Hi {{{user.name|you}}}", {"user": {}}, "Hi you"),
        ("Hi {{{user.name|you}}}", {"user": {"name": "Ada"}}, "Hi Ada"),
        ("{{{N|none}}} left", {"N": 0}, "0 left"),
        ('{{{A|say "hi" \\o/}}}', {}, 'say "hi" \\o/'),
        ("{{{A|two\nlines}}}", {}, "two\nlines"),
        ("{% if vip %}Dear{% elif name %}Hi{% else %}Hello{% endif %}", {"name": "x"}, "Hi"),
        ("{% for x in xs %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% endfor %}", {"xs": "ab"}, "1a,2b"),
        ("{% for x in xs %}{% else %}none{% endfor %}", {"xs": []}, "none"),
        ("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", {"d": {"a": 1, "b": 2}}, "a=1;b=2;"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", {}, "012"),
        ("{% set n = a + b %}{{ n * 2 }}", {"a": 1, "b": 2}, "6"),
        ("{% set x %}<{{ a }}>{% endset %}{{ x }}{{ x }}", {"a": 1}, "<1><1>"),
        ("{% with total = a * 3 %}{{ total }}{% endwith %}", {"a": 2}, "6"),
        ("{{ '%.2f'|format(price) }} {{ '%05d' % n }}", {"price": 9.999, "n": 42}, "10.00 00042"),
        ("{{ items|map(attribute='name')|join(', ') }}", {"items": [{"name": "a"}, {"name": "b"}]}, "a, b"),
        ("{{ items|sum(attribute='price')|round(1) }}", {"items": [{"price": 1.25}, {"price": 2}]}, "3.2"),
        ("{{ name|upper|replace('A', 'O')|trim }}", {"name": " ada "}, "ODO"),
        ("{{ order.items|length }}", {"order": {"items": [1, 2]}}, "2"),
        ("{{ name.split(' ')[0].title() }}", {"name": "ada lovelace"}, "Ada"),
        ("{% raw %}{{ not this }}{% endraw %}{# nor this #}", {}, "{{ not this }}"),
        ("{{ missing }}|{{ missing|default('x') }}", {}, "|x"),
        ("line\n", {}, "line\n"),
    ],
)
def test_text_renders(source: str, variables: dict[str, Any], expected: str) -> None:
    assert expected == render(source, variables, html=False)


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("<p>{{ name }}</p>", {"name": "<b>Tom & Co</b>"}, "<p>&lt;b&gt;Tom &amp; Co&lt;/b&gt;</p>"),
        ("{{{name}}}", {"name": "<b>"}, "&lt;b&gt;"),
        ("{{{name|<you>}}}", {}, "&lt;you&gt;"),
        ("{{ xs|join(', ') }}", {"xs": ["<", ">"]}, "&lt;, &gt;"),
        ("{{ name|replace('a', '<') }}", {"name": "a"}, "&lt;"),
        ("{{ '%s'|format(name) }}", {"name": "<"}, "&lt;"),
        ("{{ a ~ '<br>' }}", {"a": "&"}, "&amp;&lt;br&gt;"),
        ("{{ html|safe }}", {"html": "<b>"}, "<b>"),
        ("{% set x %}<b>{{ a }}</b>{% endset %}{{ x }}", {"a": "<"}, "<b>&lt;</b>"),
        ("{{ data|tojson }}", {"data": {"a": "</script>"}}, '{"a": "\\u003c/script\\u003e"}'),
    ],
)
def test_html_is_escaped(source: str, variables: dict[str, Any], expected: str) -> None:
    assert expected == render(source, variables, html=True)


@pytest.mark.parametrize("source", ["{{ name }}", "{{{name}}}", "{{ xs|join }}", "{{ name ~ '' }}"])
def test_subject_and_text_are_not_escaped(source: str) -> None:
    assert render(source, {"name": "Tom & <Jerry>", "xs": ["Tom & ", "<Jerry>"]}, html=False) == "Tom & <Jerry>"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ name", "line 1: unexpected end of template"),
        ("one\ntwo {{ }}", "line 2: Expected an expression"),
        ("one\n{% if x %}\nthree", "line 2: Unexpected end of template"),
        ("\n\n{{ x|center(10) }}", "line 3: no filter named 'center'"),
        ("{% if x is lovely %}{% endif %}", "line 1: no test named 'lovely'"),
        ("{{{ NAME|{x} }}}", "line 1:"),
        ("{% macro f() %}{% endmacro %}", "line 1: mail templates have no macro"),
        ("{% include 'other' %}", "line 1: mail templates have no include"),
        ("{% extends 'other' %}", "line 1: mail templates have no extends"),
        ("{% import 'x' as y %}", "line 1: mail templates have no import"),
        ("{% block a %}{% endblock %}", "line 1: mail templates have no block"),
        ("{% filter upper %}{% endfilter %}", "line 1: mail templates have no filter block"),
        ("{% autoescape false %}{% endautoescape %}", "line 1: mail templates have no autoescape"),
        ("{% for x in xs recursive %}{% endfor %}", "line 1: loops cannot be recursive"),
        ("{{ user.name }}", "'user' is undefined"),
        ("{% for x in 5 %}{% endfor %}", "'int' object is not iterable"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'a' + 1 }}", "can only concatenate str"),
        ("{{ name() }}", "'name' is undefined"),
    ],
)
def test_a_problem_is_named_with_its_line(source: str, problem: str) -> None:
    with pytest.raises(TemplateProblem) as caught:
        render(source, {}, html=True)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a {{ b }}", True), ("{% if x %}", True), ("{# x #}", True), ("100 % { sure }", False), ("", False)],
)
def test_plain_text_needs_no_engine(text: str, *, expected: bool) -> None:
    assert uses_template_syntax(text) is expected


def test_one_rendering_leaves_nothing_for_the_next() -> None:
    source = "{% set seen = name %}{{ seen }}"
    assert [render(source, {"name": name}, html=False) for name in "ab"] == ["a", "b"]
    assert render("{{ seen }}", {}, html=False) == ""
