"""Counting: a syntax tree made to pay for its work (:mod:`.work`), by the prices of its nodes."""

from collections.abc import Iterable

from jinja2 import Environment, nodes

from mailwarren.contracts.template.prices import (
    CHARACTER,
    COMPARED,
    ESCAPED_CHARACTER,
    FILTERS,
    ITERATION,
    LOOP_VARIABLE,
    NODE,
    NODES,
    OUTPUT,
    TESTS,
    WEIGH,
)
from mailwarren.contracts.template.work import SHOWN

# What goes into an operation that takes longer the larger it is, where no filter, test or method pays for it. A key is
# hashed, with all that is in it.
_OPERANDS: dict[type[nodes.Node], tuple[str, ...]] = {
    nodes.Output: ("nodes",),
    nodes.Concat: ("nodes",),
    nodes.Compare: ("expr",),
    nodes.Operand: ("expr",),
    nodes.Getitem: ("arg",),
    nodes.Pair: ("key",),
}


def count_work(node: nodes.Node, env: Environment) -> int:
    """Put :func:`.work.each`, :func:`.work.weigh` and :func:`.work.shown` into a syntax tree, in place.

    Returns:
        The units that one run takes, but for what is paid while it runs: loops and sizes. Of the branches of a
        condition the dearest counts.
    """
    match node:
        case nodes.For():
            return _count_loop(node, env)
        case nodes.If():
            tests = [node.test, *(branch.test for branch in node.elif_)]
            branches = [node.body, *(branch.body for branch in node.elif_), node.else_]
            return NODE * len(tests) + _all(tests, env) + max(_all(branch, env) for branch in branches)
        case nodes.CondExpr():
            branches = [[node.expr1], [node.expr2] if node.expr2 else []]
            return _price(node) + count_work(node.test, env) + max(_all(branch, env) for branch in branches)
    return _price(node) + _all(node.iter_child_nodes(), env) + _weigh_operands(node, env)


def _all(parts: Iterable[nodes.Node], env: Environment) -> int:
    return sum(count_work(part, env) for part in list(parts))


def _count_loop(node: nodes.For, env: Environment) -> int:
    before = count_work(node.iter, env) + _all(node.else_, env)
    asks = node.test is not None or any(name.name == "loop" for part in node.body for name in _names(part))
    inside = _all([node.target, *node.body, *([node.test] if node.test else [])], env)
    each = ITERATION + inside + (LOOP_VARIABLE if asks else 0)
    node.iter = _through("each", env, node.iter, nodes.Const(each))
    return _price(node) + before


def _names(node: nodes.Node) -> Iterable[nodes.Name]:
    return [node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name)


def _weigh_operands(node: nodes.Node, env: Environment) -> int:
    escapes = env.autoescape and isinstance(node, nodes.Output | nodes.Concat)
    character = nodes.Const(ESCAPED_CHARACTER if escapes else CHARACTER)
    counting = SHOWN if isinstance(node, nodes.Output) else "weigh"
    weighed = 0

    def through(operand: nodes.Expr) -> nodes.Expr:
        nonlocal weighed
        if isinstance(operand, nodes.Const | nodes.TemplateData | nodes.Slice):
            return operand
        weighed += 1
        return _through(counting, env, operand, character)

    for field in _OPERANDS.get(type(node), ()):
        value = getattr(node, field)
        setattr(node, field, [through(part) for part in value] if isinstance(value, list) else through(value))
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = through(node.node)
    return weighed * WEIGH


def _through(name: str, env: Environment, operand: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(operand, name, list(args), [], None, None, lineno=operand.lineno, environment=env)


def _price(node: nodes.Node) -> int:
    match node:
        case nodes.TemplateData():
            return NODE + len(node.data) * CHARACTER
        case nodes.Const():
            return NODE + (len(node.value) * ESCAPED_CHARACTER if isinstance(node.value, str) else 0)
        case nodes.Output():
            return OUTPUT * sum(not isinstance(part, nodes.TemplateData) for part in node.nodes)
        case nodes.Filter():
            return FILTERS[node.name].use
        case nodes.Test():
            return TESTS.get(node.name, COMPARED).use
    return NODES.get(type(node), NODE)
