"""Work: what a rendering costs, counted by the rendering itself.

The sandbox of Jinja2 keeps a template away from Python, not from the CPU: three nested loops, or a text doubled forty
times, are fine with it. So a compiled template counts its own work, in units of about one node of its syntax tree
(well under a microsecond): a loop pays for its iterations before it starts, an operation pays for the size of what
goes into it. The count depends on nothing but the template and the variables: what ingest accepted, every sender
renders.
"""

from collections.abc import Iterator, Mapping, Sized
from typing import Any

from jinja2 import Environment, nodes, pass_context
from jinja2.runtime import Context

MAX_WORK = 300_000
"""Units that one rendering may take."""
CHARACTERS_PER_UNIT = 20

_BUDGET = "the budget"  # no name of a template can have a space


class TemplateProblem(ValueError):
    """A template that cannot be used, or a rendering that went out of bounds; the text is for its author."""


class Budget:
    """What is left of the work of one rendering."""

    def __init__(self, units: int = MAX_WORK) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """Take ``units`` off.

        Raises:
            TemplateProblem: nothing is left.
        """
        self._left -= units
        if self._left < 0:
            raise TemplateProblem("rendering this template is too much work: too many or too long loops or texts")

    def weigh(self, value: Any) -> None:
        """Pay for a value by its size, with all that is in it: what is in it a hundred times counts a hundred."""
        if isinstance(value, str):
            self.spend(len(value) // CHARACTERS_PER_UNIT)
        elif isinstance(value, Mapping | list | tuple):
            self._weigh_inside(value)
        elif isinstance(value, int):
            self.spend(value.bit_length() // CHARACTERS_PER_UNIT)
        elif isinstance(value, Sized):
            self.spend(len(value))

    def _weigh_inside(self, value: Any) -> None:
        stack = [value]
        while stack:
            current = stack.pop()
            if isinstance(current, Mapping):
                self.spend(2 * len(current))
                stack.extend(current)
                stack.extend(current.values())
            elif isinstance(current, list | tuple):
                self.spend(len(current))
                stack.extend(current)
            elif isinstance(current, str):
                self.spend(len(current) // CHARACTERS_PER_UNIT)


# What goes into an operation that takes longer the larger it is. A key is hashed, with all that is in it.
_OPERANDS: dict[type[nodes.Node], tuple[str, ...]] = {
    nodes.Output: ("nodes",),
    nodes.Concat: ("nodes",),
    nodes.Filter: ("node", "args"),
    nodes.Test: ("node", "args"),
    nodes.Compare: ("expr",),
    nodes.Operand: ("expr",),
    nodes.Call: ("args",),
    nodes.Keyword: ("value",),
    nodes.Getitem: ("arg",),
    nodes.Pair: ("key",),
}


def with_budget(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables together with a fresh budget."""
    return {**variables, _BUDGET: Budget()}


def budget(context: Context) -> Budget:
    """The budget of the rendering."""
    found: Budget = context.parent[_BUDGET]
    return found


@pass_context
def weigh(context: Context, value: Any) -> Any:
    """The filter behind every operand: pays for it and hands it on."""
    if not (isinstance(value, str) and len(value) < CHARACTERS_PER_UNIT):
        budget(context).weigh(value)
    return value


@pass_context
def each(context: Context, values: Any, weight: int) -> Any:
    """The filter behind what a loop runs over; each iteration costs ``weight``."""
    purse = budget(context)
    if isinstance(values, Sized):
        purse.spend(len(values) * weight)
        return values
    return _paying(values, purse, weight) if isinstance(values, Iterator) else values


def _paying(values: Iterator[Any], purse: Budget, weight: int) -> Iterator[Any]:
    for value in values:
        purse.spend(weight)
        yield value


COUNTING_FILTERS = {"weigh": weigh, "each": each}


def count_work(node: nodes.Node, env: Environment) -> None:
    """Put :func:`each` and :func:`weigh` into a syntax tree, in place."""
    for child in node.iter_child_nodes():
        count_work(child, env)
    if isinstance(node, nodes.For):
        inside = [*node.body, *([node.test] if node.test else [])]
        node.iter = _through("each", env, node.iter, nodes.Const(1 + sum(map(_weight, inside))))
    else:
        _weigh_operands(node, env)


def _weigh_operands(node: nodes.Node, env: Environment) -> None:
    def weighed(operand: nodes.Expr) -> nodes.Expr:
        free = isinstance(operand, nodes.Const | nodes.TemplateData | nodes.Slice)
        return operand if free else _through("weigh", env, operand)

    for field in _OPERANDS.get(type(node), ()):
        value = getattr(node, field)
        setattr(node, field, [weighed(part) for part in value] if isinstance(value, list) else weighed(value))
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = weighed(node.node)
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        node.node.node = weighed(node.node.node)


def _through(name: str, env: Environment, operand: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(operand, name, list(args), [], None, None, lineno=operand.lineno, environment=env)


def _weight(node: nodes.Node) -> int:
    """Units that one run of a node takes; a loop inside pays for itself."""
    if isinstance(node, nodes.TemplateData):
        return 1 + len(node.data) // CHARACTERS_PER_UNIT
    inside = [node.iter] if isinstance(node, nodes.For) else list(node.iter_child_nodes())
    return 1 + sum(map(_weight, inside))
