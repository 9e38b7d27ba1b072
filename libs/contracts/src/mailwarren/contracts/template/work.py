"""Work: what a rendering costs, counted by the rendering itself.

The sandbox of Jinja2 keeps a template away from Python, not from the CPU: three nested loops, or a text doubled forty
times, are fine with it. So a rendering pays for its work by the prices of :mod:`.prices`: a loop for its iterations
before it starts, an operation for the size of what goes into it. A unit is about a nanosecond, but nothing looks at a
clock: the count depends on the template and the variables alone, and what ingest accepted, every sender renders.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.runtime import Context, LoopContext
from markupsafe import escape

from mailwarren.contracts.template.prices import (
    CHARACTER,
    CONTAINER,
    ELEMENT,
    FLOAT,
    SQUARED_BITS,
    UNDEFINED,
    VIEW,
    Price,
    Takes,
)

MAX_WORK = 10_000_000
"""Units that one rendering may take: about ten milliseconds."""

SHOWN = "shown"
"""The filter that gives the very text of an output, which needs no ``str`` or ``escape`` around it any more."""

_BUDGET = "the budget"  # no name of a template can have a space
# Not `list | tuple | dict`, which would be made anew each time it is looked at.
_SEQUENCES = (list, tuple)
_CONTAINERS = (list, tuple, dict)
_COUNTED = (range, LoopContext)
_VIEWS: tuple[type[Iterable[Any]], ...] = (type({}.keys()), type({}.values()), type({}.items()))


class TemplateProblem(ValueError):
    """A template that cannot be used, or a rendering that went out of bounds; the text is for its author."""


class Budget:
    """What is left of the work of one rendering."""

    __slots__ = ("_left",)

    def __init__(self, units: int) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """Take ``units`` off.

        Raises:
            TemplateProblem: nothing is left.
        """
        self._left -= units
        if self._left < 0:
            raise TemplateProblem("rendering this template is too much work: too many or too long loops or texts")

    def weigh(self, value: Any, character: int = CHARACTER, element: int = ELEMENT) -> None:
        """Pay for a value by its size, with all that is in it: what is in it a hundred times counts a hundred."""
        if isinstance(value, str):
            self.spend(len(value) * character)
        elif isinstance(value, int):
            self.spend(_digits(value, character))
        elif isinstance(value, float):
            self.spend(FLOAT)
        elif isinstance(value, _CONTAINERS):
            self._weigh_inside(value, character, element)
        elif isinstance(value, Undefined):
            self.spend(UNDEFINED)
        elif isinstance(value, _COUNTED):
            self.spend(len(value) * element)
        elif isinstance(value, _VIEWS):
            self.spend(VIEW)
            self._weigh_inside(list(value), character, element)

    def _weigh_inside(self, value: list[Any] | tuple[Any, ...] | dict[Any, Any], character: int, element: int) -> None:
        # Not by recursion, and paid before it is put on the stack: it may be nested deeply, or repeat itself.
        self._left -= CONTAINER
        stack: list[Any] = [value]
        while stack:
            current = stack.pop()
            if isinstance(current, str):
                self._left -= len(current) * character
            elif isinstance(current, int):
                self._left -= _digits(current, character)
            elif isinstance(current, _SEQUENCES):
                self.spend(len(current) * element)
                stack.extend(current)
            elif isinstance(current, dict):
                self.spend(2 * len(current) * element)
                stack.extend(current)
                stack.extend(current.values())
            elif current is not None:
                self.weigh(current, character, element)
        self.spend(0)


def _digits(number: int, character: int) -> int:
    bits = number.bit_length()
    return bits * bits // SQUARED_BITS + bits // 3 * character


def with_budget(variables: Mapping[str, Any], units: int, spent: int) -> dict[str, Any]:
    """The variables together with a fresh budget, of which some is spent already.

    Raises:
        TemplateProblem: more is spent than there is.
    """
    purse = Budget(units)
    purse.spend(spent)
    return {**variables, _BUDGET: purse}


def budget(context: Context) -> Budget:
    """The budget of the rendering."""
    found: Budget = context.parent[_BUDGET]
    return found


@pass_context
def weigh(context: Context, value: Any, character: int) -> Any:
    """The filter behind an operand: pays for it and hands it on."""
    budget(context).weigh(value, character)
    return value


@pass_context
def each(context: Context, values: Any, weight: int) -> Any:
    """The filter behind what a loop runs over; each iteration costs ``weight``."""
    purse = budget(context)
    try:
        count = len(values)
    except TypeError:
        return _paying(values, purse, weight) if isinstance(values, Iterator) else values
    purse.spend(count * weight)
    return values


def _paying(values: Iterator[Any], purse: Budget, weight: int) -> Iterator[Any]:
    for value in values:
        purse.spend(weight)
        yield value


# What HTML escapes. Most values have none of it, and to see that costs a fifth of making them Markup.
_find_special = re.compile("[&<>'\"]").search


@pass_context
def shown(context: Context, value: Any, character: int) -> str:
    """The filter behind an output that is not escaped: pays for it and gives its text."""
    # Every value of every mail comes through here, nearly always a text: one call less for those.
    if type(value) is str:
        budget(context).spend(len(value) * character)
        return value
    budget(context).weigh(value, character)
    return str(value)


@pass_context
def shown_escaped(context: Context, value: Any, character: int) -> str:
    """The filter behind an output that is escaped: pays for it and gives its text."""
    if type(value) is str:
        budget(context).spend(len(value) * character)
        return escape(value) if _find_special(value) else value
    budget(context).weigh(value, character)
    return escape(value)


def counting_filters(*, autoescape: bool) -> dict[str, Any]:
    """The filters that :mod:`.counting` puts into syntax trees; none is for templates to name."""
    return {"weigh": weigh, "each": each, SHOWN: shown_escaped if autoescape else shown}


COUNTING_FILTERS = frozenset(counting_filters(autoescape=False))


def priced(function: Any, price: Price) -> Any:
    """A filter or a test that pays for what goes in; for its use the syntax tree pays (:mod:`.counting`)."""
    passed = getattr(getattr(function, "jinja_pass_arg", None), "name", "")
    _, character, element, takes = price

    @pass_context
    def pays(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        if element:
            purse = budget(context)
            given = (*args, *kwargs.values()) if kwargs else args
            for argument in given:
                purse.weigh(argument)
            if takes is Takes.TEXT and not isinstance(value, str):
                purse.weigh(value)
                value = str(value)
            if takes is not Takes.ELEMENTS:
                purse.weigh(value, character, element)
            elif isinstance(value, str):
                purse.spend(len(value) * element * _parts(given))
            else:
                purse.weigh(value, character, element * _parts(given))
        if passed == "context":
            return function(context, value, *args, **kwargs)
        if passed == "environment":
            return function(context.environment, value, *args, **kwargs)
        if passed == "eval_context":
            return function(context.eval_ctx, value, *args, **kwargs)
        return function(value, *args, **kwargs)

    return pays


def _parts(given: tuple[Any, ...]) -> int:
    # An element's attribute is taken part after part: `a.b.c`, and for sorting `a,b,c`.
    return 1 + sum(text.count(".") + text.count(",") for text in given if isinstance(text, str))
