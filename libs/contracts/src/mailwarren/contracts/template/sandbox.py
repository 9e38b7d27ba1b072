"""The sandbox: which parts of Jinja2 exist in mail templates, and the bounds of single operations.

Beside what Jinja2's own sandbox forbids: no macros, no recursion, no other templates, and nothing that makes much
out of little, such as ``'%999999999d' % 1``. The sum of all operations is bounded by :mod:`.work`.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mailwarren.contracts.template.filters import (
    all_filters,
    all_tests,
    bound,
    bound_argument,
    format_percent,
    is_allowed_attribute,
)
from mailwarren.contracts.template.work import CHARACTERS_PER_UNIT, COUNTING_FILTERS, budget, count_work

MAX_TOKENS = 10_000
"""Tokens of a template's tags; a long newsletter has two thousand. Compiling 10,000 takes a quarter of a second."""
MAX_RANGE = 1000
MAX_BITS = 4096
"""Of a whole number; Jinja would square a number until the machine is out of memory."""

_STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.Scope)
_KEYWORDS: dict[type[nodes.Node], str] = {
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter block",
    nodes.FromImport: "import",
    nodes.ScopedEvalContextModifier: "autoescape",
}
_FOREIGN = (nodes.NSRef, nodes.InternalName, nodes.ImportedName, nodes.ExtensionAttribute, nodes.EnvironmentAttribute)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2 with the language of this package and nothing else."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, keep_trailing_newline=True)
        self.globals.clear()
        self.globals["range"] = _bounded_range
        self.filters = all_filters() | COUNTING_FILTERS
        self.tests = all_tests()

    def outline(self, source: str) -> nodes.Template:
        """The syntax tree.

        Raises:
            TemplateSyntaxError: it does not parse, is too long, or uses what the language does not have.
        """
        if sum(1 for _ in islice(self.lex(source), MAX_TOKENS + 1)) > MAX_TOKENS:
            raise TemplateSyntaxError(f"the template has more than {MAX_TOKENS} tokens", 1)
        tree = self.parse(source)
        for node in _walk(tree):
            _check(node, self)
        return tree

    def counting(self, source: str) -> Any:
        """The compiled template, which spends from the budget it is rendered with (:func:`.work.with_budget`)."""
        tree = self.outline(source)
        count_work(tree, self)
        return self.from_string(tree)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``order.items`` is the row's own ``items`` where it has one; only then a method."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only the methods of the language, on top of what Jinja2 forbids."""
        return super().is_safe_attribute(obj, attr, value) and is_allowed_attribute(obj, attr)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """An attribute that templates may not take is a problem, not an empty text.

        Raises:
            SecurityError: always.
        """
        raise SecurityError(f"{attribute!r} of {type(obj).__name__!r} is not available")

    def wrap_str_format(self, _value: Any) -> None:
        """``str.format`` is left out, so Jinja2 must not offer its own: a width in it is any amount of memory."""

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A method or ``range``; ``text.strip(characters)`` takes as long as both multiplied."""
        for argument in (*args, *kwargs.values()):
            bound_argument(argument)
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An arithmetic operation, after the price of its result is paid."""
        if operator == "%" and isinstance(left, str):
            return format_percent(left, right)
        if operator in {"*", "**"}:
            _bound_number(operator, left, right)
        if operator in {"*", "+"}:
            size = _size_of_result(operator, left, right)
            bound(size, "the text or list is")
            budget(context).spend(size // CHARACTERS_PER_UNIT)
        return super().call_binop(context, operator, left, right)


def _bounded_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() over more than {MAX_RANGE} numbers")
    return numbers


def _size_of_result(operator: str, left: Any, right: Any) -> int:
    sizes = [len(side) for side in (left, right) if isinstance(side, str | list | tuple)]
    times = [side for side in (left, right) if isinstance(side, int)]
    return sum(sizes) * max([0, *times]) if operator == "*" else sum(sizes)


def _bound_number(operator: str, left: Any, right: Any) -> None:
    if not (isinstance(left, int) and isinstance(right, int)):
        return
    bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
    if bits > MAX_BITS:
        raise SecurityError("the number is too large")


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    for child in node.iter_child_nodes():
        yield child
        yield from _walk(child)


def _check(node: nodes.Node, env: Environment) -> None:
    """Refuse what the language does not have, naming the line."""
    trouble = None
    if isinstance(node, nodes.Stmt) and not isinstance(node, _STATEMENTS):
        trouble = f"mail templates have no {_KEYWORDS.get(type(node), type(node).__name__.lower())}"
    elif isinstance(node, nodes.For) and node.recursive:
        trouble = "loops cannot be recursive"
    elif isinstance(node, nodes.AssignBlock) and node.filter is not None:
        trouble = "a set block takes no filter"
    elif isinstance(node, nodes.Filter) and (node.name in COUNTING_FILTERS or node.name not in env.filters):
        trouble = f"no filter named {node.name!r}"
    elif isinstance(node, nodes.Test) and node.name not in env.tests:
        trouble = f"no test named {node.name!r}"
    elif isinstance(node, nodes.Call | nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        trouble = "arguments are written out, not taken from a list"
    elif isinstance(node, _FOREIGN) or (isinstance(node, nodes.Name) and node.name == "self"):
        trouble = "this is not part of mail templates"
    if trouble:
        raise TemplateSyntaxError(trouble, node.lineno)
