"""MJML and CSS: template tags come through the compilers, what they cannot do is said with its line."""

import asyncio
import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwarren.contracts.template import render
from mailwarren.ingest.markup.build import build
from mailwarren.ingest.markup.compiler import Compiler
from mailwarren.ingest.markup.problem import MarkupProblem
from mailwarren.ingest.markup.tags import keep

BODY = "<mjml>\n<mj-body>\n<mj-section><mj-column>\n{}\n</mj-column></mj-section>\n</mj-body>\n</mjml>"
TAGS = [
    "{{{ A }}}", "{{ a < b }}", "{{ a|default('>') }}", "{% if a < b %}", "{% endif %}", "{# <b> #}", "{{ '}' }}",
    "{% raw %}{{ x }}{% endraw %}",
]  # fmt: skip
TEXTS = [
    "<p class='c'>", "</p>", "<table>", "<tr>", "<td>", "</td>", "</tr>", "</table>", "text ", "&amp;", "<br>", "é\n",
    "<title>t", "</title>", "<!-- ", " -->", "<style>p{color:red}", "</style>", "<a href='x?a=1&amp;b=2'>", "</a>",
]  # fmt: skip


@given(st.lists(st.sampled_from([*TAGS, *TEXTS]), max_size=30).map("".join))
def test_tags_that_are_kept_are_put_back(source):
    kept = keep(source)
    assert not [tag for tag in TAGS if tag in kept.source]
    assert kept.restored(kept.source) == source


@settings(deadline=None)
@given(st.lists(st.sampled_from([*TAGS, *TEXTS]), max_size=30).map("".join))
def test_inlining_keeps_statements_in_their_order_or_says_which_it_cannot(source):
    def statements(text):
        return [tag for tag, _ in keep(text).tags.values() if tag.startswith(("{%", "{#"))]

    with contextlib.suppress(MarkupProblem):
        assert statements(build(source, "html", inline_css=True)) == statements(source)


def test_mjml_with_every_kind_of_tag():
    source = (
        "<mjml><mj-body>{% for row in rows %}<mj-section><mj-column><mj-text>{{ row.name }}"
        "{% if row.price > 3 %} &amp; dear{% endif %}</mj-text>"
        "<mj-button href='{{{URL|https://a.test?a=1&b=2}}}'>Go</mj-button></mj-column></mj-section>{% endfor %}"
        "</mj-body></mjml>"
    )
    html = build(source, "mjml", inline_css=False)
    assert html.startswith("<!doctype html>")
    rows = [{"name": "<Tea>", "price": 4}, {"name": "Jam", "price": 2}]
    filled = render(html, {"rows": rows, "URL": 'https://b.test?x=1&y="'}, html=True)
    assert "&lt;Tea&gt; &amp; dear</div>" in filled
    assert "Jam</div>" in filled
    assert filled.count('href="https://b.test?x=1&amp;y=&#34;"') == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (BODY.format("<mj-text>a < b</mj-text>"), "line 4: "),
        (BODY.format("<mj-text>a"), "line 4: <mj-text> is not closed|line 7: "),
        ("<mjml>\n<mj-body>\n\n<mj-section>\n", "line 4: <mj-section> is not closed"),
        (BODY.format("<mj-nope>a</mj-nope>"), "line 4: there is no <mj-nope> in MJML"),
        ("<mjml>\n<mj-head>\n<mj-include path='/etc/passwd' />\n</mj-head></mjml>", "line 3: <mj-include> is not"),
        (BODY.format("<mj-text {% if a %}color='red'{% endif %}>a</mj-text>"), "line 4: "),
        ("<mjml><mj-body>\n" + "<mj-wrapper>\n" * 300, "line 200: elements are nested deeper than 200"),
    ],
)
def test_what_is_wrong_with_mjml_is_said_with_its_line(source, words):
    with pytest.raises(MarkupProblem, match=words):
        build(source, "mjml", inline_css=False)


def test_css_is_inlined_and_what_cannot_be_stays():
    source = (
        "<style>p{color:red} .x{width:{{ w }}px} p:hover{color:blue} @media print{p{color:black}}</style>"
        "<table>{% for r in rows %}<tr class='x'><td>{{ r < 3 }}</td></tr>{% endfor %}</table><p style='margin:0'>a</p>"
    )
    built = build(source, "html", inline_css=True)
    assert '<tr class="x" style="width: {{ w }}px;">' in built
    assert '<p style="color: red;margin: 0">' in built
    assert "p:hover" in built and "@media print" in built
    assert "<table>{% for r in rows %}<tbody>" in built
    assert "{{ r < 3 }}</td></tr>{% endfor %}</tbody></table>" in built
    assert render(built, {"w": 5, "rows": [1, 5]}, html=True).count("width: 5px") == 2


def test_a_stylesheet_elsewhere_is_not_fetched():
    source = '<link rel="stylesheet" href="http://127.0.0.1:9/a.css"><link rel="stylesheet" href="/etc/passwd"><p>a</p>'
    built = build(source, "html", inline_css=True)
    assert "127.0.0.1:9" in built and "root:" not in built


def test_a_statement_between_attributes_cannot_be_inlined():
    with pytest.raises(MarkupProblem, match=r"line 2: \{% if a %\} stands between attributes"):
        build("<p>\n<b {% if a %}class='x'{% endif %}>b</b>", "html", inline_css=True)


async def compiled(source, markup="html", **options):
    return await Compiler(**options).compile(source, markup, inline_css=markup == "html")


async def test_it_is_done_in_another_process():
    assert '<p style="color: red;">' in await compiled("<style>p{color:red}</style><p>a</p>")
    assert "<!doctype html>" in await compiled("<mjml></mjml>", "mjml")
    with pytest.raises(MarkupProblem, match="line 1: <mjml> is not closed"):
        await compiled("<mjml>", "mjml")


async def test_html_that_stays_as_it_is_needs_none():
    assert await Compiler(within=0.0).compile("<p>{{ a }}", "html", inline_css=False) == "<p>{{ a }}"


async def test_what_breaks_the_compiler_breaks_only_its_process():
    with pytest.raises(MarkupProblem, match="too large, or nested too deeply"):
        await compiled("<style>b{color:red}</style>" + "<b/>" * 60_000)


async def test_what_takes_too_long_is_ended_and_holds_nobody_up():
    rules = "".join(f"*{{color{number}:red}}" for number in range(2000))
    longest, done = 0.0, False

    async def watch():
        nonlocal longest
        while not done:
            begin = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - begin)

    watching = asyncio.create_task(watch())
    begin = time.monotonic()
    with pytest.raises(MarkupProblem, match=r"took longer|too large"):
        await compiled(f"<style>{rules}</style>" + "<p>x</p>" * 2000, within=1.5)
    done = True
    await watching
    assert time.monotonic() - begin < 15
    assert longest < 1
