"""Which variables a template needs, found in its syntax tree with the scopes of Jinja2."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import nodes

from mailwarren.contracts.template.render import SURPRISES, compiled, explain, plain_jinja
from mailwarren.contracts.template.sandbox import Environment
from mailwarren.contracts.template.work import MAX_WORK, TemplateProblem, with_budget

_OPTIONAL_FILTERS = frozenset({"default", "d", "fallback"})
_ORDERS = frozenset({"lt", "lteq", "gt", "gteq"})
_OPTIONAL_TESTS = frozenset({"defined", "undefined"})

_outlines = Environment(autoescape=False)

Names = frozenset[str]


def required_variables(source: str) -> Names:
    """The dotted names that a row must give for this template.

    Raises:
        TemplateProblem: the template does not compile.
    """
    return _required(source)


def missing_variables(required: Names, variables: Mapping[str, Any]) -> list[str]:
    """Which of the required names the variables do not have, sorted."""
    return sorted(name for name in required if not _has(variables, name))


def _has(variables: Mapping[str, Any], dotted: str) -> bool:
    value: Any = variables
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


@lru_cache(maxsize=64)
def _required(source: str) -> Names:
    # What the tree does not show, such as a loop nested too deeply for Python, or more work than any row could do with.
    _, anyhow = compiled(source, False)
    with_budget({}, MAX_WORK, anyhow)
    try:
        tree = _outlines.outline(plain_jinja(source))
        return frozenset(_Scope(frozenset({"range"})).body(tree.body))
    except SURPRISES as error:
        raise TemplateProblem(explain(error)) from error


class _Scope:
    """A part of a template in which ``bound`` names are its own, and ``tested`` ones may be absent."""

    def __init__(self, bound: Names, tested: Names = frozenset()) -> None:
        self._bound = bound
        self._tested = tested

    def body(self, parts: Iterable[nodes.Node]) -> Iterator[str]:
        """What statements that follow each other need: ``set`` binds its name for those behind it."""
        for part in parts:
            yield from self.needs(part)
            self._bound |= frozenset(_assigned(part))

    def needs(self, node: nodes.Node) -> Iterator[str]:
        """The dotted names without which a node cannot be rendered."""
        if isinstance(node, nodes.Name | nodes.Getattr) and (dotted := _dotted(node)):
            yield from self._name(dotted)
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
            yield from self._all((node.node.node, *node.args))
        elif isinstance(node, nodes.Filter) and node.name in _OPTIONAL_FILTERS and node.node is not None:
            yield from self.asks(node.node)
            yield from self._all(node.args)
        elif isinstance(node, nodes.Test) and node.name in _OPTIONAL_TESTS:
            yield from self.asks(node.node)
        elif isinstance(node, nodes.And | nodes.Or):
            yield from self._choice(node.left, [node.right], [])
        elif isinstance(node, nodes.CondExpr):
            yield from self._choice(node.test, [node.expr1], [node.expr2] if node.expr2 else [])
        elif isinstance(node, nodes.Stmt):
            yield from self._statement(node)
        else:
            yield from self._all(node.iter_child_nodes())

    def _statement(self, node: nodes.Stmt) -> Iterator[str]:
        match node:
            case nodes.If():
                yield from self._choice(node.test, node.body, [*node.elif_, *node.else_])
            case nodes.For():
                yield from self.needs(node.iter)
                inner = self._inside(_targets([node.target]) | {"loop"})
                yield from inner.body([*([node.test] if node.test else []), *node.body])
                yield from self._inside(frozenset()).body(node.else_)
            case nodes.With():
                yield from self._all(node.values)
                yield from self._inside(_targets(node.targets)).body(node.body)
            case nodes.AssignBlock():
                yield from self._inside(frozenset()).body(node.body)
            case _:
                yield from self._all(node.iter_child_nodes())

    def _all(self, parts: Iterable[nodes.Node]) -> Iterator[str]:
        for part in parts:
            yield from self.needs(part)

    def asks(self, node: nodes.Node) -> Iterator[str]:
        """What a test needs: a name may be absent there, but what it is an attribute of may not."""
        dotted = _dotted(node)
        if dotted:
            yield from self._name(dotted.rpartition(".")[0])
        elif isinstance(node, nodes.Not):
            yield from self.asks(node.node)
        elif isinstance(node, nodes.And | nodes.Or):
            yield from self.asks(node.left)
            yield from self._guarded_by(node.left).asks(node.right)
        elif isinstance(node, nodes.Call):
            yield from self.needs(node)
        elif isinstance(node, nodes.BinExpr | nodes.UnaryExpr) or _orders(node):
            # Jinja2 neither computes with nor orders what is undefined.
            for operand in _operands(node):
                yield from self.needs(operand) if _dotted(operand) else self.asks(operand)
        else:
            for child in node.iter_child_nodes():
                yield from self.asks(child)

    def _name(self, dotted: str) -> Iterator[str]:
        parts = dotted.split(".")
        heads = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if dotted and parts[0] not in self._bound and not heads & self._tested:
            yield dotted

    def _choice(self, test: nodes.Node, chosen: Iterable[nodes.Node], other: Iterable[nodes.Node]) -> Iterator[str]:
        # A name that is tested may be absent, in the test and in what the test decides about.
        yield from self.asks(test)
        for branch in (chosen, other):
            yield from self._guarded_by(test).body(branch)

    def _inside(self, more: Names) -> "_Scope":
        return _Scope(self._bound | more, self._tested)

    def _guarded_by(self, test: nodes.Node) -> "_Scope":
        return _Scope(self._bound, self._tested | frozenset(_plain_names(test)))


def _assigned(node: nodes.Node) -> Iterator[str]:
    """The names that a statement binds for those behind it; a loop or a ``with`` keeps its own to itself."""
    if isinstance(node, nodes.Assign | nodes.AssignBlock):
        yield from _targets([node.target])
    elif isinstance(node, nodes.If):
        for part in (*node.body, *node.elif_, *node.else_):
            yield from _assigned(part)


def _targets(parts: Iterable[nodes.Node]) -> Names:
    found: set[str] = set()
    for part in parts:
        found |= {part.name} if isinstance(part, nodes.Name) else set()
        found |= {name.name for name in part.find_all(nodes.Name)}
    return frozenset(found)


def _plain_names(node: nodes.Node) -> Iterator[str]:
    """The names in an expression, without the methods that are called on them."""
    if dotted := _dotted(node):
        yield dotted
        return
    method = isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr)
    for child in (node.node.node, *node.args) if method else node.iter_child_nodes():  # type: ignore[attr-defined]
        yield from _plain_names(child)


def _orders(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Compare) and any(operand.op in _ORDERS for operand in node.ops)


def _operands(node: nodes.Node) -> Iterator[nodes.Node]:
    for child in node.iter_child_nodes():
        yield child.expr if isinstance(child, nodes.Operand) else child


def _dotted(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name if node.ctx == "load" else None
    if isinstance(node, nodes.Getattr):
        head = _dotted(node.node)
        return f"{head}.{node.attr}" if head else None
    return None
