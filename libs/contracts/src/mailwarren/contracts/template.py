"""The template language of bulk mail: Jinja2 in a sandbox, plus ``{{{NAME|fallback}}}``.

Ingest and the senders must agree on it, which is why it stands among the contracts: ingest refuses a row whose
variables do not fill the template, the sender renders what was accepted.

A variable that stands in an output (``{{ name }}``) is required. One that is only tested (``{% if name %}``), has a
default (``{{ name|default("you") }}``) or a fallback (``{{{name|you}}}``) is optional. HTML is escaped, subject and
text are not. Work is bounded: output size, ``range``, and the sizes that ``*`` and ``**`` can reach.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT = 2_000_000
"""Characters that one rendering may give."""
MAX_RANGE = 1000
MAX_OPERAND = 100_000

# {{{ NAME }}} and {{{ NAME | fallback text }}}, NAME possibly dotted.
_TRIPLE = re.compile(r"\{\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\s*(?:\|\s*([^{}]*?)\s*)?\}\}\}")
_OPTIONAL_FILTERS = frozenset({"default", "d", "fallback"})
_OPTIONAL_TESTS = frozenset({"defined", "undefined"})


class TemplateProblem(ValueError):
    """A template that cannot be used, or a rendering that went out of bounds; the text is for its author."""


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and (abs(left) > MAX_OPERAND or abs(right) > 100):  # noqa: PLR2004
            raise SecurityError("the power is too large")
        sized = [side for side in (left, right) if isinstance(side, str | bytes | list | tuple)]
        times = [side for side in (left, right) if isinstance(side, int)]
        if sized and times and len(sized[0]) * abs(times[0]) > MAX_OPERAND:
            raise SecurityError("the repetition is too long")
        return super().call_binop(context, operator, left, right)


def _bounded_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() over more than {MAX_RANGE} numbers")
    return numbers


def _fallback(value: Any, text: str) -> Any:
    """``text`` where the variable is missing, None or empty."""
    return value or text


def _environment(*, autoescape: bool) -> _Environment:
    env = _Environment(autoescape=autoescape, keep_trailing_newline=True)
    env.globals.clear()
    env.globals["range"] = _bounded_range
    env.filters["fallback"] = _fallback
    return env


_html = _environment(autoescape=True)
_text = _environment(autoescape=False)


def render(source: str, variables: Mapping[str, Any], *, html: bool) -> str:
    """``source`` with its variables filled in.

    Raises:
        TemplateProblem: a syntax error, a forbidden operation, a missing attribute, or too much output.
    """
    try:
        return "".join(_bounded(_compiled(source, html).generate(variables)))
    except TemplateProblem:
        raise
    except (JinjaError, ArithmeticError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise TemplateProblem(_explain(error)) from error


def required_variables(source: str) -> frozenset[str]:
    """The dotted names that a row must give for this template.

    Raises:
        TemplateProblem: the template does not parse.
    """
    return _required(source)


def missing_variables(required: frozenset[str], variables: Mapping[str, Any]) -> list[str]:
    """Which of the required names the variables do not have, sorted."""
    return sorted(name for name in required if not _has(variables, name))


def uses_template_syntax(source: str) -> bool:
    """Whether a text would render to something else: literal texts need no template engine."""
    return "{{" in source or "{%" in source or "{#" in source


def _has(variables: Mapping[str, Any], dotted: str) -> bool:
    value: Any = variables
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _bounded(pieces: Iterator[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_OUTPUT:
            raise TemplateProblem(f"the rendered text is longer than {MAX_OUTPUT} characters")
        yield piece


def _double(source: str) -> str:
    """Triple braces as Jinja expressions."""

    def expression(match: re.Match[str]) -> str:
        name, text = match.group(1), match.group(2)
        if text is None:
            return "{{ " + name + " }}"
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return "{{ " + name + '|fallback("' + quoted + '") }}'

    return _TRIPLE.sub(expression, source)


# Cached by text: a bulk mail's 200 parcels carry the same three sources.
@lru_cache(maxsize=256)
def _compiled(source: str, html: bool) -> Any:  # noqa: FBT001 - a cache key
    try:
        return (_html if html else _text).from_string(_double(source))
    except (TemplateSyntaxError, JinjaError) as error:
        raise TemplateProblem(_explain(error)) from error


@lru_cache(maxsize=256)
def _required(source: str) -> frozenset[str]:
    try:
        tree = _text.parse(_double(source))
        free = find_undeclared_variables(tree) - {"range"}
    except JinjaError as error:
        raise TemplateProblem(_explain(error)) from error
    return frozenset(name for name in _output_names(tree) if name.split(".")[0] in free)


def _output_names(node: nodes.Node) -> Iterator[str]:
    """Dotted names whose value the template needs; the tested and the defaulted ones are left out."""
    if isinstance(node, nodes.Filter) and node.name in _OPTIONAL_FILTERS:
        for argument in node.args:
            yield from _output_names(argument)
        return
    if isinstance(node, nodes.Test) and node.name in _OPTIONAL_TESTS:
        return
    if isinstance(node, nodes.Name | nodes.Getattr):
        dotted = _dotted(node)
        if dotted:
            yield dotted
            return
    if isinstance(node, nodes.If | nodes.CondExpr):
        # A name that is tested may be absent, in the test and in what the test guards.
        tested = set(_plain_names(node.test))
        for part in (node.test, *_branches(node)):
            yield from (name for name in _output_names(part) if name not in tested)
        return
    for child in node.iter_child_nodes():
        yield from _output_names(child)


def _branches(node: nodes.If | nodes.CondExpr) -> list[nodes.Node]:
    if isinstance(node, nodes.CondExpr):
        return [part for part in (node.expr1, node.expr2) if part is not None]
    return [*node.body, *node.elif_, *node.else_]


def _plain_names(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Name | nodes.Getattr):
        dotted = _dotted(node)
        if dotted:
            yield dotted
            return
    for child in node.iter_child_nodes():
        yield from _plain_names(child)


def _dotted(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name if node.ctx == "load" else None
    if isinstance(node, nodes.Getattr):
        head = _dotted(node.node)
        return f"{head}.{node.attr}" if head else None
    return None


def _explain(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    return f"line {line}: {error}" if line else str(error) or type(error).__name__
