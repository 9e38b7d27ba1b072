"""Prices: what the parts of the template language cost, in the units of :mod:`.work`, which are about nanoseconds.

A price is what the dearest use was measured to take on a server's core, rounded up: `test_template_prices.py` renders
as much of each as the budget allows and looks at the clock. Here stands what is known before a rendering: the nodes of
the syntax tree, and for each filter, test and method what a use and each piece of its input costs.
"""

from enum import Enum
from typing import NamedTuple

from jinja2 import nodes

CHARACTER = 4
"""Of a text that is copied. Also a bound for memory: this many times fewer characters than units."""
ESCAPED_CHARACTER = 6
ELEMENT = 350
"""An element of a list, or a key or a value of a mapping, looked at once."""
CONTAINER = 600
"""A list or a mapping, looked into."""
SLOW_ELEMENT = 1500
"""One that an operation makes a new value of, or takes by its attribute."""
FLOAT = 800
"""A number with a point, to be written."""
UNDEFINED = 2000
"""A variable that is missing, where a value is looked at."""
VIEW = 1500
"""The keys, values or items of a mapping, to be looked at."""
SQUARED_BITS = 800
"""A whole number is written in time by the square of its bits: so many of them a unit."""
DIRECTIVE = 2000
"""A ``%`` of a format with its argument."""
EXTREME_DIRECTIVE = 15_000
"""The same for a number with a point that has a hundred digits before it, or noughts behind."""
PIECE = 80
"""A part that a text is split into."""
MARKUP_PIECE = 800
"""The same of a text that is known to be HTML."""
COPIED_ELEMENT = 20
"""An element of a list that is repeated or joined to another."""
WEIGH = 300
"""To look how large an operand is."""


class Takes(Enum):
    """What an operation makes of the value that goes in, before it works on it."""

    ANY = 0
    """Nothing."""
    TEXT = 1
    """What is no text is written as one."""
    ELEMENTS = 2
    """A text is a list of its characters."""


class Price(NamedTuple):
    """What an operation costs: each use, each character and each element that goes in (inner ones too).

    A price of 0 for elements is for operations that do not look inside.
    """

    use: int
    character: int = CHARACTER
    element: int = ELEMENT
    takes: Takes = Takes.ANY


def _text(use: int, character: int) -> Price:
    return Price(use, character, takes=Takes.TEXT)


def _elements(use: int, character: int, element: int = SLOW_ELEMENT) -> Price:
    return Price(use, character, element, Takes.ELEMENTS)


_BLIND = Price(500, 0, 0)

FILTERS: dict[str, Price] = {
    "abs": _BLIND,
    "capitalize": _text(1000, 40),
    "count": _BLIND,
    "d": _BLIND,
    "default": _BLIND,
    "dictsort": Price(3000, 15, SLOW_ELEMENT),
    "e": _text(1000, 6),
    "escape": _text(1000, 6),
    "fallback": _BLIND,
    "filesizeformat": Price(3000, 20),
    "first": Price(1000, 0, 0),
    "float": Price(1500, 20),
    "format": _text(2000, 6),
    "int": Price(4000, 20),
    "items": Price(1000),
    "join": _elements(2500, 6),
    "last": Price(1000, 0, 0),
    "length": _BLIND,
    "list": _elements(1000, 0, ELEMENT),
    "lower": _text(800, 40),
    "map": _elements(2000, 0),
    "max": _elements(3500, 30),
    "min": _elements(3500, 30),
    "replace": _text(2500, 30),
    "reverse": Price(800),
    "round": Price(3000),
    "safe": _text(1000, CHARACTER),
    "sort": _elements(4000, 20, 2 * SLOW_ELEMENT),
    "string": _text(800, 6),
    "striptags": _text(5000, 120),
    "sum": _elements(1500, CHARACTER),
    "title": _text(3000, 250),
    "tojson": Price(10000, 30),
    "trim": _text(1500, 60),
    "truncate": _text(2000, 6),
    "unique": _elements(3500, 30),
    "upper": _text(800, 40),
    "urlencode": Price(3000, 400, SLOW_ELEMENT),
    "wordcount": _text(1500, 80),
}

_BLIND_TESTS = (
    "boolean", "defined", "divisibleby", "even", "false", "float", "integer", "iterable", "mapping", "none", "number",
    "odd", "sameas", "sequence", "string", "true", "undefined",
)  # fmt: skip
TESTS: dict[str, Price] = dict.fromkeys(_BLIND_TESTS, Price(600, 0, 0)) | {
    "in": Price(1000, 5),
    "lower": Price(1000, 15),
    "upper": Price(1000, 15),
}
"""Those of comparisons have the price of any other: :data:`COMPARED`."""
COMPARED = Price(1000, 2)

METHODS = {
    "capitalize": 40,
    "lower": 40,
    "lstrip": 60,
    "rstrip": 60,
    "strip": 60,
    "title": 40,
    "upper": 40,
}
"""Each character of a text whose method is called; :data:`CHARACTER` for the others. The call has its own price."""

NODES: dict[type[nodes.Node], int] = {
    **dict.fromkeys((nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow), 1500),
    nodes.AssignBlock: 800,
    nodes.Call: 4000,
    nodes.Compare: 200,
    nodes.Concat: 600,
    nodes.CondExpr: 300,
    nodes.For: 1500,
    nodes.Getattr: 900,
    nodes.Getitem: 1500,
    nodes.With: 200,
}
NODE = 100
"""Any other."""
OUTPUT = 600
"""An expression in an output."""
ITERATION = 300
"""Of a loop without what stands in it."""
LOOP_VARIABLE = 1000
"""An iteration's more when the loop looks at ``loop`` or selects."""
