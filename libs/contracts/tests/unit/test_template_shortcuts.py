"""What a rendering does by a shorter way gives what Jinja2 gives by its own."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import Template
from jinja2.compiler import CodeGenerator

from mailwarren.contracts.template import MAX_OUTPUT, MAX_WORK, TemplateProblem, render
from mailwarren.contracts.template.counting import count_work
from mailwarren.contracts.template.render import compiled, explain, plain_jinja
from mailwarren.contracts.template.sandbox import Environment
from mailwarren.contracts.template.work import SHOWN, weigh, with_budget


class Reference(Environment):
    """The same language as Jinja2 itself compiles and renders it: values weighed, then ``str`` or ``escape``."""

    code_generator_class = CodeGenerator

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape)
        self.filters[SHOWN] = weigh

    def template(self, source: str) -> tuple[Template, int]:
        tree = self.outline(plain_jinja(source))
        units = count_work(tree, self)
        return self.from_string(tree), units


REFERENCES = {html: Reference(autoescape=html) for html in (True, False)}
ROUND_ABOUT = """{% set a %}<{{ v }}>{% endset %}{{ a }}{% for x in [v, a, w] %}{{ x }}{{ loop.index }}{% endfor %}"""
OUTPUTS = [
    "{{ v }}", "{{ w }}", "{{ w.k }}", "{{ nobody }}", "{{ v|safe }}", "{{ v|upper }}", "{{ v ~ w }}", "{{ v|tojson }}",
    "{{ [v, w] }}", "{{ {'k': v} }}", "{{ 'x<' }}", "{{ v if w else w }}", "{{ v|e }}", "{{ range(3) }}",
    "{{{ w.k|<you> }}}", "{% for k, x in {'<': v}.items() %}{{ k }}{{ x }}{% endfor %}", "{% if v %}{{ v }}{% endif %}",
    "{{ (v|safe)[:3] }}", "{{ v|length }}", "{{ v|d(w) }}", " <i> & ", ROUND_ABOUT,
]  # fmt: skip
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False),
        st.text(max_size=20),
        st.text("&<>'\"ab\0é€", max_size=20),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "<"]), inner, max_size=2),
    max_leaves=5,
)


sources = st.lists(st.sampled_from(OUTPUTS), min_size=1, max_size=6).map("".join)


def by_jinja(source: str, row: dict[str, Any], *, html: bool, work: int = MAX_WORK) -> str:
    """The rendering, or what it is refused for."""
    template, units = REFERENCES[html].template(source)
    assert units == compiled(source, html)[1]
    try:
        return "".join(template.generate(with_budget(row, work, units)))
    except Exception as error:  # whatever Jinja2 raises is a problem of the template
        return explain(error)


def by_us(source: str, row: dict[str, Any], *, html: bool, work: int = MAX_WORK) -> str:
    try:
        return render(source, row, html=html, work=work)
    except TemplateProblem as problem:
        return str(problem)


@settings(max_examples=400, deadline=None)
@given(sources, values, values, st.booleans())
@example("{{ v }}", "&<>'\"", None, True)
def test_a_rendering_is_that_of_jinja(source: str, v: Any, w: Any, html: bool) -> None:
    row = {"v": v, "w": w}
    assert by_jinja(source, row, html=html) == by_us(source, row, html=html)


@settings(max_examples=100, deadline=None)
@given(sources, values, values, st.booleans())
def test_it_takes_as_many_units_as_that_of_jinja(source: str, v: Any, w: Any, html: bool) -> None:
    row = {"v": v, "w": w}
    whole = by_jinja(source, row, html=html)
    enough, little = MAX_WORK, 0
    while enough - little > 1:
        middle = (enough + little) // 2
        if by_jinja(source, row, html=html, work=middle) == whole:
            enough = middle
        else:
            little = middle
    assert by_us(source, row, html=html, work=enough) == whole
    assert by_us(source, row, html=html, work=little) == by_jinja(source, row, html=html, work=little) != whole


LONG = "{% for i in range(999) %}" + "y" * 700 + "{% endfor %}"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (LONG + "{{ 1 / 0 }}", f"longer than {MAX_OUTPUT} bytes"),
        (
            LONG + "{% for i in w * 300 %}{% for j in w * 300 %}{{ j }}{% endfor %}{% endfor %}",
            f"longer than {MAX_OUTPUT} bytes",
        ),
        (r"{{ '\ud83d' }}" + LONG, "surrogates"),
        (r"{{ '\ud83d' }}{{ 1 / 0 }}", "surrogates"),
        (LONG + r"{{ '\ud83d' }}", f"longer than {MAX_OUTPUT} bytes"),
        ("{{ 1 / 0 }}" + LONG, "division by zero"),
    ],
)
def test_of_two_troubles_the_first_is_told(source: str, problem: str) -> None:
    with pytest.raises(TemplateProblem, match=problem):
        render(source, {"v": "v", "w": list("abc")}, html=True)


@pytest.mark.parametrize("cell", ["{{ angles }}", "{{ wide }}", "<" + "y" * 2400, "{{ wide }}{{ angles }}é"])
def test_a_rendering_that_is_too_long_takes_little_memory(cell: str) -> None:
    row = {"angles": "<" * 1000, "wide": ["\U0010ffff" * 900]}
    source = "{% for i in range(999) %}" + cell + "{% endfor %}"
    compiled(source, True)
    tracemalloc.start()
    with pytest.raises(TemplateProblem):
        render(source, row, html=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6
