"""The sandbox: which parts of Jinja2 exist in mail templates, and the bounds of single operations.

Beside what Jinja2's own sandbox forbids: no macros, no recursion, no other templates, and nothing that makes much
out of little, such as ``'%999999999d' % 1``. The sum of all operations is bounded by :mod:`.work`.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from jinja2 import Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context, new_context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from mailwarren.contracts.template.counting import count_work
from mailwarren.contracts.template.filters import (
    MAX_BITS,
    all_filters,
    all_tests,
    bound,
    bound_argument,
    bound_number,
    format_percent,
    is_allowed_attribute,
)
from mailwarren.contracts.template.prices import (
    CHARACTER,
    COMPARED,
    COPIED_ELEMENT,
    ELEMENT,
    FILTERS,
    MARKUP_PIECE,
    METHODS,
    PIECE,
    TESTS,
)
from mailwarren.contracts.template.work import COUNTING_FILTERS, SHOWN, Budget, budget, counting_filters, priced

MAX_TOKENS = 5000
"""Tokens of a template's tags; a long newsletter has two thousand. Compiling 5000 takes a tenth of a second."""
MAX_RANGE = 1000

Rendering = Callable[[dict[str, Any]], Iterator[str]]
"""Values by name to the pieces of a text."""

_SIZED = (str, list, tuple)

_STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.With, nodes.Scope)
_KEYWORDS: dict[type[nodes.Node], str] = {
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter block",
    nodes.FromImport: "import",
    nodes.ScopedEvalContextModifier: "autoescape",
}
_FOREIGN = (nodes.NSRef, nodes.InternalName, nodes.ImportedName, nodes.ExtensionAttribute, nodes.EnvironmentAttribute)


class _Generator(CodeGenerator):
    """Python of a template, in which an output is what :func:`.work.shown` gives, and not escaped once more."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        if not _is_shown(node):
            super()._output_child_pre(node, frame, finalize)

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        if not _is_shown(node):
            super()._output_child_post(node, frame, finalize)


def _is_shown(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Filter) and node.name == SHOWN


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2 with the language of this package and nothing else."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, keep_trailing_newline=True)
        self.globals.clear()
        self.globals["range"] = _bounded_range
        filters = {name: priced(function, FILTERS[name]) for name, function in all_filters().items()}
        self.filters = filters | counting_filters(autoescape=autoescape)
        self.tests = {name: priced(function, TESTS.get(name, COMPARED)) for name, function in all_tests().items()}

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

    def counting(self, source: str) -> tuple[Rendering, int]:
        """What renders a template, spending from the budget among its values, and what a rendering costs anyhow.

        Raises:
            TemplateSyntaxError: see :meth:`outline`.
        """
        tree = self.outline(source)
        units = count_work(tree, self)
        root: Callable[[Context], Iterator[str]] = self.from_string(tree).root_render_func

        def pieces(values: dict[str, Any]) -> Iterator[str]:
            # What Template.generate does, but for copying the globals twice for each rendering, and its traceback in
            # terms of the template, which nobody reads.
            return root(new_context(self, None, {}, {**self.globals, **values}, shared=True))

        return pieces, units

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``order.items`` is the row's own ``items`` where it has one; only then a method."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if is_allowed_attribute(obj, attribute):
            return getattr(obj, attribute)
        if isinstance(obj, Undefined) or hasattr(obj, attribute):
            return super().getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ARG002 - Jinja2's signature
        """Only what the language has, of texts, mappings and loops: less than what Jinja2 takes for safe."""
        return is_allowed_attribute(obj, attr)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """An attribute that templates may not take is a problem, not an empty text.

        Raises:
            SecurityError: always.
        """
        raise SecurityError(f"{attribute!r} of {type(obj).__name__!r} is not available")

    def wrap_str_format(self, _value: Any) -> None:
        """``str.format`` is left out, so Jinja2 must not offer its own: a width in it is any amount of memory."""

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A method or ``range``, after its price is paid: a method may have come here by any name."""
        purse = budget(context)
        for argument in (*args, *kwargs.values()):
            bound_argument(argument)
            purse.weigh(argument)
        text = getattr(obj, "__self__", None)
        if isinstance(text, str):
            _pay_for_method(purse, obj.__name__, text, args)
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An arithmetic operation, after its price is paid."""
        purse = budget(context)
        if operator == "%" and isinstance(left, str):
            purse.weigh(right, element=2 * ELEMENT)
            return format_percent(purse, left, right)
        if isinstance(left, int) and isinstance(right, int):
            purse.spend(_bits_of_result(operator, left, right))
        elif operator in {"*", "+"} and (isinstance(left, _SIZED) or isinstance(right, _SIZED)):
            purse.spend(_size_of_result(operator, left, right))
        return super().call_binop(context, operator, left, right)


def _bounded_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() over more than {MAX_RANGE} numbers")
    return numbers


def _pay_for_method(purse: Budget, name: str, text: str, args: tuple[Any, ...]) -> None:
    purse.spend(len(text) * METHODS.get(name, CHARACTER))
    if name == "split":
        separator = args[0] if args else None
        pieces = text.count(separator) if separator and isinstance(separator, str) else len(text) // 2
        purse.spend((pieces + 1) * (MARKUP_PIECE if isinstance(text, Markup) else PIECE))


def _size_of_result(operator: str, left: Any, right: Any) -> int:
    """What the text or list costs that ``+`` and ``*`` would make; refuses one that is too long."""
    texts = sum(len(side) for side in (left, right) if isinstance(side, str))
    elements = sum(len(side) for side in (left, right) if isinstance(side, list | tuple))
    times = [side for side in (left, right) if isinstance(side, int)]
    factor = max([0, *times]) if operator == "*" else 1
    bound((texts + elements) * factor, "the text or list is")
    return (texts * CHARACTER + elements * COPIED_ELEMENT) * factor


def _bits_of_result(operator: str, left: int, right: int) -> int:
    """What an operation with whole numbers costs, by their bits; refuses numbers that are too large."""
    bound_number(left)
    bound_number(right)
    bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
    if operator in {"*", "**"} and bits > MAX_BITS:
        raise SecurityError("the number is too large")
    return bits


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
