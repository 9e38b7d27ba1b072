"""The prices of the template language against the clock: the dearest that a rendering may do takes milliseconds."""

import time
from contextlib import suppress

import pytest

from mailwarren.contracts.template import TemplateProblem, render
from mailwarren.contracts.template.filters import all_filters, all_tests
from mailwarren.contracts.template.prices import COMPARED, FILTERS, TESTS

SECONDS = 0.04
"""10 ms on the machine that the prices were measured on, and some for slower ones."""

TEXT = {
    "words": "'ab ' * 2000",
    "tags": "'<!---->' * 1000",
    "accents": "'é ' * 3000",
    "emoji": "'😀' * 1500",
    "quotes": "'\"' * 3000",
    "letters": "'a' * 400",
    "markup": "('<a>' * 900)|safe",
    "great": "7 ** 1300",
    "extreme": "1e308",
    "numbers": "range(900)|list",
    "greats": "[7 ** 1300] * 30",
    "truths": "[true] * 10",
    "texts": "['a' * 90 ~ 'b'] * 300",
    "mapping": "{'a': 1}",
    "mappings": "[{'a': {'b': 1}}] * 90",
    "short": "'ß'",
}
USES = {
    "abs": ["great|abs"],
    "capitalize": ["emoji|capitalize"],
    "count": ["words|count"],
    "d": ["words|d('x')"],
    "default": ["words|default('x')"],
    "dictsort": ["mapping|dictsort"],
    "e": ["quotes|e", "greats|e"],
    "escape": ["quotes|escape", "mapping|escape"],
    "fallback": ["words|fallback('x')"],
    "filesizeformat": ["12345678|filesizeformat"],
    "first": ["numbers|first"],
    "float": ["('9' * 3000)|float"],
    "format": ["('%.99f' * 9)|format(1e308, 1, 1, 1, 1, 1, 1, 1, 1)", "'%s'|format(great)"],
    "int": ["('9' * 1200)|int", "words|int", "truths|int(0, 36)"],
    "items": ["mapping|items"],
    "join": ["numbers|join(',')", "words|join", "([markup] * 3)|join('<')"],
    "last": ["numbers|last"],
    "length": ["words|length"],
    "list": ["words|list", "numbers|list"],
    "lower": ["accents|lower", "greats|lower"],
    "map": ["mappings|map(attribute='a.b')", "letters|map(attribute='a.b.c.d.e')", "numbers|map(attribute='a.' * 5)"],
    "max": ["texts|max"],
    "min": ["numbers|min"],
    "replace": ["letters|replace('a', '')", "words|replace('', 'b')"],
    "reverse": ["numbers|reverse", "words|reverse"],
    "round": ["extreme|round(99)", "1.5|round(2, 'ceil')"],
    "safe": ["words|safe", "mapping|safe"],
    "sort": ["texts|sort", "letters|sort(attribute='0.0.0.0')"],
    "string": ["greats|string"],
    "striptags": ["tags|striptags", "markup|striptags"],
    "sum": ["numbers|sum", "([{'a': 1}] * 90)|sum(attribute='a')"],
    "title": ["words|title", "short|title"],
    "tojson": ["emoji|tojson", "greats|tojson", "numbers|tojson"],
    "trim": ["(' ' * 3000)|trim"],
    "truncate": ["words|truncate(3)"],
    "unique": ["numbers|unique", "letters|unique(attribute='a')"],
    "upper": ["(short * 3000)|upper"],
    "urlencode": ["emoji|urlencode"],
    "wordcount": ["words|wordcount", "letters|wordcount"],
}
OPERATIONS = [
    "words.split()", "markup.split('a')", "letters.strip('ab' * 400)", "accents.upper()", "words['title']()", "kept()",
    "mapping.items()", "words ~ words", "letters + letters", "[1] * 900", "texts == texts", "'zz' in words",
    "letters in texts", "great // 7 ** 600", "great + great", "7 ** 1300", "'%.99f' % extreme", "'%s' % greats",
    "('%s' * 9) % (great, 1, 1, 1, 1, 1, 1, 1, 1)", "words[::-1]", "numbers[1:]", "{words: 1}", "nobody ~ nobody",
    "greats ~ ''", "range(900)|list", "words is lower", "4 is in(numbers)", "mapping.real", "words.real",
]  # fmt: skip
STATEMENTS = [
    "{{ nobody }}", "{{ words }}", "{{ quotes }}", "{{ numbers }}", "{{ extreme }}", "{{ loop.index }}", "x" * 1000,
    "{{ loop.cycle(1, 2) }}", "{{ loop.changed(letters) }}", "{% for a in numbers %}{{ loop.last }}{% endfor %}",
    "{% for a in letters if a == 'a' %}{% endfor %}", "{% set a %}{{ quotes }}{% endset %}", "{{ '<&>' * 3 }}",
    "{% if words == accents %}{% elif words %}{{ 1 }}{% endif %}", "",
]  # fmt: skip
EXPRESSIONS = sorted({use for uses in USES.values() for use in uses} | set(OPERATIONS))
BODIES = STATEMENTS + ["{% set y = " + expression + " %}" for expression in EXPRESSIONS]


def repeated(body: str, times: int) -> str:
    """A template that runs ``body`` about so many times in a captured block, so that its output is no bound."""
    names = "".join(f"{{% set {name} = {value} %}}" for name, value in TEXT.items()) + "{% set kept = words.title %}"
    outer = 1 + times // 1000
    loops = f"{{% for i in range({outer}) %}}{{% for j in range({times // outer}) %}}{body}{{% endfor %}}{{% endfor %}}"
    return f"{names}{{% set out %}}{loops}{{% endset %}}"


def fits(body: str, times: int) -> bool:
    try:
        # As HTML everything costs at least as much as in a text.
        render(repeated(body, times), {}, html=True)
    except TemplateProblem as problem:
        if "too much work" not in str(problem):
            raise
        return False
    return True


def seconds(source: str) -> float:
    begin = time.process_time()
    with suppress(TemplateProblem):
        render(source, {}, html=True)
    return time.process_time() - begin


@pytest.mark.parametrize("body", BODIES)
def test_the_most_of_it_that_fits_takes_milliseconds_and_so_does_to_refuse_more(body: str) -> None:
    times = 1
    assert fits(body, times)
    while fits(body, 4 * times):
        times *= 4
    if fits(body, 2 * times):
        times *= 2
    # The most is between the two; what is refused has used the whole budget up.
    for source in (repeated(body, times), repeated(body, 2 * times)):
        assert min(seconds(source) for _ in range(3)) < SECONDS


def test_every_filter_and_test_has_a_price() -> None:
    assert set(FILTERS) == set(all_filters()) == set(USES)
    assert set(TESTS) <= set(all_tests())
    compared = {
        "eq",
        "==",
        "ne",
        "!=",
        "gt",
        ">",
        "ge",
        ">=",
        "lt",
        "<",
        "le",
        "<=",
        "equalto",
        "greaterthan",
        "lessthan",
    }
    assert set(all_tests()) - set(TESTS) == compared, f"all others have the price of a comparison: {COMPARED}"
