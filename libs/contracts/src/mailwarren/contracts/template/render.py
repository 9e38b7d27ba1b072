"""Rendering: a text and a row's variables to the text of one mail."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError as JinjaError

from mailwarren.contracts.template.sandbox import Environment, Rendering
from mailwarren.contracts.template.work import MAX_WORK, TemplateProblem, with_budget

MAX_SOURCE = 1_000_000
"""Characters of a template."""
MAX_OUTPUT = 640 * 1024
"""Bytes (of UTF-8) that one rendering may give: the 512 KiB of content that the API takes, and what a row adds to it.
A sender holds the renderings of hundreds of mails at a time, so it bounds what a small template can make of them."""

# What Jinja2, the code that it generates and the operations of a template can raise.
SURPRISES = (
    JinjaError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)

_TRIPLE = re.compile(r"\{\{\{([^{}]*)\}\}\}")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")

_html = Environment(autoescape=True)
_text = Environment(autoescape=False)


def render(source: str, variables: Mapping[str, Any], *, html: bool, work: int = MAX_WORK) -> str:
    """``source`` with its variables filled in.

    Args:
        source: the template.
        variables: JSON values.
        html: whether values are escaped.
        work: units that it may take (:mod:`.work`), at most :data:`MAX_WORK`: what takes more, no sender renders.

    Raises:
        TemplateProblem: a syntax error, a forbidden operation, a missing attribute, or too much work or output.
    """
    pieces_of, anyhow = compiled(source, html)
    pieces: list[str] = []
    try:
        try:
            pieces.extend(pieces_of(with_budget(variables, work, anyhow)))
        finally:
            # Also when the rendering broke off: the trouble that came first is the one to tell. What the pieces can
            # hold before they are looked at is bounded by the budget (`prices.CHARACTER`).
            _check_size(pieces)
        return "".join(pieces)
    except TemplateProblem:
        raise
    except SURPRISES as error:
        raise TemplateProblem(explain(error)) from error


def uses_template_syntax(source: str) -> bool:
    """Whether a text would render to something else: literal texts need no template engine."""
    return "{{" in source or "{%" in source or "{#" in source


# Cached by text: a bulk mail's 200 parcels carry the same three sources.
@lru_cache(maxsize=64)
def compiled(source: str, html: bool) -> tuple[Rendering, int]:  # noqa: FBT001 - a cache key
    """What renders a text, given its values (:func:`.work.with_budget`), and the units that it takes anyhow.

    Raises:
        TemplateProblem: it is not a template of this language.
    """
    environment = _html if html else _text
    try:
        return environment.counting(plain_jinja(source))
    except SURPRISES as error:
        raise TemplateProblem(explain(error)) from error


def plain_jinja(source: str) -> str:
    """Triple braces written as Jinja expressions.

    Raises:
        TemplateProblem: the text is too long.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateProblem(f"the template is longer than {MAX_SOURCE} characters")
    return _TRIPLE.sub(_expression, source)


def explain(error: BaseException) -> str:
    """What to tell the author of a template."""
    if isinstance(error, RecursionError | MemoryError) or type(error) is SyntaxError:
        return "the template is nested too deeply"
    line = getattr(error, "lineno", None)
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return f"line {line}: {text}" if line else text


def _expression(match: re.Match[str]) -> str:
    # {{{ NAME }}} and {{{ NAME | fallback text }}}, NAME possibly dotted. Anything else is left to Jinja to refuse.
    name, bar, text = (part.strip() for part in match.group(1).partition("|"))
    if not _NAME.fullmatch(name):
        return match.group(0)
    if not bar:
        return "{{ " + name + " }}"
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return "{{ " + name + '|fallback("' + quoted + '") }}'


def _check_size(pieces: list[str]) -> None:
    if sum(map(len, pieces)) <= MAX_OUTPUT and all(map(str.isascii, pieces)):
        return
    size = 0
    for piece in pieces:
        size += len(piece.encode())
        if size > MAX_OUTPUT:
            raise TemplateProblem(f"the rendered text is longer than {MAX_OUTPUT} bytes")
