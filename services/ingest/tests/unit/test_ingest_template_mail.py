"""A template filled in: every value stays in its place, whatever it is."""

import html as entities
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.parcel import Syntax
from mailwarren.contracts.template import render
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import EmailBody, TemplateRef
from mailwarren.ingest.domain.template_mail import fill, literal, preview, template_email
from mailwarren.ingest.domain.templates import (
    TemplateBody,
    TemplateChange,
    Variable,
    VariableType,
    Version,
    check_change,
    check_new,
    line_of,
    names_needed,
)

PLACES = """<body title="{{{A}}}" lang='{{ B }}'><p id=one>{{{ A }}}</p><i>{{ B }}</i><b>{{{A|you}}}</b></body>"""
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
nasty = st.text("<>\"'&{}%#|\\/=-!\n\r \té😀ab;", max_size=40)
values = st.one_of(texts, nasty)
header_values = values.map(lambda text: "".join(char for char in text if char.isprintable() or char == "\t"))


def version(**fields):
    body = {"name": "n", "from_": "ada@sender.test", "subject": "S", "html": "<p>"} | fields
    written = check_new(TemplateBody(**body))
    return Version(
        template=new_id(), number=1, id=new_id(), written=written, html=written.source,
        required=names_needed(written, written.source), created_at=datetime.now(UTC), published_at=None,
    )  # fmt: skip


class Seen(HTMLParser):
    """The elements with their attributes, and the text of each."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.text = [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.text[tag] = ""

    def handle_data(self, data):
        self.text[self.elements[-1][0]] += data


@given(values, values)
def test_a_value_never_leaves_its_place_in_html(a, b):
    seen = Seen(render(PLACES, {"A": a, "B": b}, html=True))
    assert [tag for tag, _ in seen.elements] == ["body", "p", "i", "b"]
    assert seen.elements[0][1] == {"title": a, "lang": b}
    assert (seen.text["p"], seen.text["i"], seen.text["b"]) == (a, b, a or "you")


@given(values, values)
def test_nor_does_it_become_a_template_or_markup_in_a_text(a, b):
    assert render("{{{A}}}|{{ B }}", {"A": a, "B": b}, html=False) == f"{a}|{b}"


@given(header_values)
def test_a_literal_is_what_it_was(text):
    assert render(literal(text), {}, html=False) == text


@given(st.text("abé<'{}\n\r\x0b\x00\x1f", max_size=12))
def test_no_line_break_reaches_the_subject(value):
    known = version(subject="Hi {{{A}}}!", html="x")
    body = EmailBody(to="bob@example.test", template=TemplateRef("t", {"A": value}))
    if set(value) & set("\n\r\x0b\x00\x1f"):
        with pytest.raises(Refusal, match=r"NUL|may not stand in a header"):
            template_email(body, known)
        return
    email = template_email(body, known)
    assert render(email.content.subject, email.recipients[0].variables, html=False) == f"Hi {value}!"


@given(
    st.dictionaries(st.sampled_from("ABCD"), st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), values))
)
def test_what_is_filled_in_has_every_declared_name_in_its_type(given_values):
    known = version(
        html="{{{A}}}{{ B }}{{ C }}",
        variables=[
            Variable(key="A", type=VariableType.STRING, fallback_value="you"),
            Variable(key="B", type=VariableType.NUMBER),
        ],
    )
    a, b = given_values.get("A"), given_values.get("B")
    if not isinstance(a, str | None) or not isinstance(b, int | float) or "C" not in given_values:
        with pytest.raises(Refusal, match=r"declared as a (string|number)|the template needs"):
            fill(known, given_values, "v")
        return
    assert fill(known, given_values, "v") == given_values | {"A": "you" if a is None else a}


def test_names_that_are_needed():
    known = version(
        subject="{{ S }}",
        html="{% if Q %}{{ Q }}{% endif %}{{ A }}{{{B|b}}}{{ user.name }}",
        text="{{ T }}",
        variables=[
            Variable(key="A", type=VariableType.STRING, fallback_value=""),
            Variable(key="D", type=VariableType.STRING),
        ],
    )
    assert known.required == {"S", "T", "D", "user.name"}
    with pytest.raises(Refusal, match=r"`D`, `S` \(line 1 of `subject`\), `user.name` \(line 1 of `html`\)\."):
        fill(known, {"T": 1}, "v")


def test_where_a_name_stands():
    texts = {"subject": "NAME", "html": "<p>NAME {{ NAMES }}\n{{ x.NAME }}{% if a and\nNAME %}", "text": "{{{NAME}}}"}
    assert line_of("NAME", texts) == " (line 3 of `html`)"
    assert line_of("NOBODY", texts) == ""


def test_a_change_keeps_what_it_does_not_name():
    before = check_new(
        TemplateBody(name="n", alias="a", from_="ada@sender.test", subject="s", reply_to=["b@sender.test"], html="<p>",
                     text="t", variables=[Variable(key="A", type=VariableType.STRING)], inline_css=True)
    )  # fmt: skip
    assert check_change(before, TemplateChange()) == before
    bare = check_change(before, decode(
        b'{"alias":null,"from":null,"subject":null,"reply_to":null,"text":null,"variables":null}', TemplateChange
    ))  # fmt: skip
    assert (bare.alias, bare.sender, bare.subject, bare.reply_to, bare.text, bare.variables) == (
        None, None, None, (), None, (),
    )  # fmt: skip
    assert (bare.name, bare.source, bare.inline_css) == ("n", "<p>", True)
    mjml = check_change(before, TemplateChange(html=" <mjml></mjml>"))
    assert (mjml.markup, check_change(mjml, TemplateChange(html="<p>")).markup) == ("mjml", "html")


def test_a_mail_is_a_template_with_its_variables_on_each_recipient():
    known = version(html="{{{A}}}", subject="{{{A}}}")
    body = EmailBody(to=["a@example.test", "b@example.test"], template=TemplateRef("t", {"A": "x"}))
    email = template_email(body, known)
    assert email.content.syntax is Syntax.TEMPLATE
    assert [one.variables for one in email.recipients] == [{"A": "x"}] * 2


def test_a_preview_escapes_where_the_mail_does():
    shown = preview(version(html="{{{A}}}", subject="{{{A}}}", text="{{{A}}}"), {"A": "<&>"})
    assert (shown.subject, shown.html, shown.text) == ("<&>", entities.escape("<&>"), "<&>")


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("{% for a in range(1000) %}{% for b in range(1000) %}{{ a * b }}{% endfor %}{% endfor %}", "too much work"),
        ("{% set a = 'x' * 1000 %}{% for i in range(1000) %}{{ a }}{% endfor %}", "longer than 655360 bytes"),
        ("{{ A.x.y }}", "needs `A.x.y`"),
    ],
)
def test_a_preview_that_runs_away_ends_with_the_reason(html, words):
    with pytest.raises(Refusal, match=words):
        preview(version(html=html), {"A": {}})
