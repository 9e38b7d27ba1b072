"""The filters, tests and methods of the template language.

Only what cannot make much out of little: Jinja's own where the result is about as large as what goes in, ours with a
bound where it is not (``replace``, ``join``, ``format``, ``round``), and none of those that only serve to pad or to
run another filter by its name. The same row must give the same mail in every attempt, so there is no ``random``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2 import Undefined, pass_context, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_int, do_round, do_trim
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import SandboxedEnvironment
from jinja2.tests import TESTS
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from mailwarren.contracts.template.prices import DIRECTIVE, EXTREME_DIRECTIVE
from mailwarren.contracts.template.work import Budget, budget

MAX_BITS = 4096
"""Of a whole number; Jinja would square a number until the machine is out of memory."""
MAX_OPERAND = 100_000
"""Characters or elements that one operation may give."""
MAX_ARGUMENT = 1000
"""Characters of a method's argument."""
MAX_DIGITS = 2
"""Digits of a width or a precision."""
EXTREME = 1e20
"""Numbers above it, and below its inverse, have many digits."""

_SEQUENCES = (list, tuple)
_FORMATTED = (str, int, float, type(None))
_WIDE = re.compile(rf"%[^a-zA-Z%]*(?:\*|\d{{{MAX_DIGITS + 1},}})")

_SAFE_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "filesizeformat", "first", "float",
    "last", "length", "list", "lower", "max", "min", "safe", "sort", "string", "striptags", "title", "truncate",
    "upper", "urlencode", "wordcount",
)  # fmt: skip

_SAFE_TESTS = (
    "boolean", "defined", "divisibleby", "eq", "equalto", "==", "even", "false", "float", "ge", ">=", "greaterthan",
    "gt", ">", "in", "integer", "iterable", "le", "<=", "lessthan", "lt", "<", "lower", "mapping", "ne", "!=", "none",
    "number", "odd", "sameas", "sequence", "string", "true", "undefined", "upper",
)  # fmt: skip

_TEXT_METHODS = frozenset(
    {"capitalize", "endswith", "lower", "lstrip", "rstrip", "split", "startswith", "strip", "title", "upper"}
)
_MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})


def all_filters() -> dict[str, Any]:
    """The filters by name. None gives an iterator, whose elements nobody would have paid for."""
    ours: dict[str, Any] = {
        "fallback": fallback,
        "format": bounded_format,
        "int": bounded_int,
        "items": listed_items,
        "join": bounded_join,
        "map": attributes,
        "replace": bounded_replace,
        "reverse": reversed_copy,
        "round": bounded_round,
        "sum": total,
        "tojson": tojson,
        "trim": bounded_trim,
        "unique": listed_unique,
    }
    return {name: FILTERS[name] for name in _SAFE_FILTERS} | ours


def all_tests() -> dict[str, Any]:
    """The tests (``is …``) by name."""
    return {name: TESTS[name] for name in _SAFE_TESTS}


def is_allowed_attribute(value: Any, name: str) -> bool:
    """Whether a template may take the attribute ``name`` of a Python object (keys of mappings are no attributes)."""
    if isinstance(value, str):
        return name in _TEXT_METHODS
    if isinstance(value, dict):
        return name in _MAPPING_METHODS
    return isinstance(value, LoopContext) and not name.startswith("_")


def fallback(value: Any, text: str) -> Any:
    """``text`` where the variable is missing, None or empty; 0 and false are values."""
    if isinstance(value, Undefined) or value is None:
        return text
    return text if isinstance(value, str | list | tuple | Mapping) and not value else value


def attributes(values: Iterable[Any], *, attribute: str) -> list[Any]:
    """``map(attribute="name")``; Jinja's way to map over another filter is left out."""
    return [_item(value, attribute) for value in values]


def total(values: Iterable[Any], attribute: str | None = None, start: float = 0) -> Any:
    """The sum of numbers."""
    numbers = [_item(value, attribute) if attribute else value for value in values]
    if not all(isinstance(number, int | float) for number in (start, *numbers)):
        raise SecurityError("sum is for numbers")
    return sum(numbers, start)


def bounded_replace(value: Any, old: str, new: str, count: int = -1) -> str:
    """``replace`` with a bound for the length of its result."""
    text = value if isinstance(value, str) else str(value)
    times = text.count(old) if count < 0 else min(count, text.count(old))
    bound(len(text) + times * len(new), "the replaced text is")
    if isinstance(text, Markup):
        return text.replace(escape(old), escape(new), count)
    return text.replace(str(old), str(new), count)


def bounded_join(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    """``join`` with a bound for the length of its result; Markup among the values makes all of it Markup."""
    items = [_item(value, attribute) if attribute else value for value in values]
    texts = [item if isinstance(item, str) else str(item) for item in items]
    bound(sum(map(len, texts)) + len(texts) * len(separator), "the joined text is")
    if isinstance(separator, Markup) or any(isinstance(text, Markup) for text in texts):
        return escape(separator).join(texts)
    return separator.join(texts)


@pass_context
def bounded_format(context: Context, value: Any, *args: Any) -> str:
    """``"%.2f"|format(price)``: numbers and short texts, widths of at most two digits."""
    return format_percent(budget(context), str(value), args)


def format_percent(purse: Budget, text: str, arguments: Any) -> str:
    """``text % arguments``, bounded and paid for."""
    if "%(" in text:
        raise SecurityError("values are formatted by their place, not by a name")
    if _WIDE.search(text):
        raise SecurityError(f"a width has at most {MAX_DIGITS} digits")
    purse.spend(text.count("%") * DIRECTIVE)
    purse.weigh(text)
    values = list(arguments.values()) if isinstance(arguments, dict) else arguments
    for argument in values if isinstance(values, _SEQUENCES) else (values,):
        if not isinstance(argument, _FORMATTED):
            raise SecurityError("only texts and numbers can be formatted")
        if isinstance(argument, str):
            bound(len(argument) * text.count("%"), "the formatted text is")
        if is_extreme(argument):
            purse.spend(EXTREME_DIRECTIVE)
    formatted: str = text % arguments
    bound(len(formatted), "the formatted text is")
    return formatted


def bounded_int(value: Any, default: int = 0, base: int = 10) -> int:
    """A whole number, out of a text perhaps, of at most :data:`MAX_BITS` bits."""
    number: int = do_int(value, default, base)
    bound_number(number)
    return number


def listed_items(value: Any) -> list[Any]:
    """The keys and values of a mapping."""
    return list(FILTERS["items"](value))


@pass_environment
def listed_unique(environment: SandboxedEnvironment, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """The different ones among the values."""
    return list(FILTERS["unique"](environment, value, *args, **kwargs))


def reversed_copy(value: Any) -> Any:
    """A text or a list from its end."""
    return value[::-1] if isinstance(value, str) else list(value)[::-1]


@pass_context
def bounded_round(context: Context, value: Any, precision: int = 0, method: Any = "common") -> float:
    """``round`` to a precision of at most two digits each way of the point."""
    if abs(precision) >= 10**MAX_DIGITS:
        raise SecurityError(f"a precision has at most {MAX_DIGITS} digits")
    if is_extreme(value):
        budget(context).spend(EXTREME_DIRECTIVE)
    return do_round(value, precision, method)


def bounded_trim(value: Any, chars: str | None = None) -> str:
    """``trim`` of a few different characters."""
    bound_argument(chars)
    return do_trim(value, chars)


def tojson(value: Any) -> Markup:
    """JSON that is safe inside of HTML."""
    return htmlsafe_json_dumps(value)


def bound(size: int, what: str) -> None:
    """Refuse a result of more than :data:`MAX_OPERAND` characters or elements.

    Raises:
        SecurityError: it is larger.
    """
    if size > MAX_OPERAND:
        raise SecurityError(f"{what} longer than {MAX_OPERAND}")


def is_extreme(value: Any) -> bool:
    """Whether a number takes long to write with a point."""
    return isinstance(value, float) and value != 0 and not 1 / EXTREME < abs(value) < EXTREME


def bound_number(value: Any) -> None:
    """Refuse a whole number of more than :data:`MAX_BITS` bits.

    Raises:
        SecurityError: it is larger.
    """
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise SecurityError("the number is too large")


def bound_argument(value: Any) -> None:
    """Refuse a text of more than :data:`MAX_ARGUMENT` characters as an argument.

    Raises:
        SecurityError: it is longer.
    """
    if isinstance(value, str) and len(value) > MAX_ARGUMENT:
        raise SecurityError(f"an argument is longer than {MAX_ARGUMENT}")


def _item(value: Any, dotted: str) -> Any:
    for part in str(dotted).split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return value
