"""A metric has one declaration, in a ``metrics.py``, under a literal name.

Dashboards and alerts are tested against these names.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

KINDS = frozenset({"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"})
PREFIX = "mailwarren_"


def declarations(module: Path) -> Iterator[tuple[int, str | None]]:
    """Line and name (None: not a literal) of every metric that a module makes."""
    tree = ast.parse(module.read_text())
    direct: set[str] = set()
    packages: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "prometheus_client":
            direct |= {alias.asname or alias.name for alias in node.names if is_metric(alias.name)}
        elif isinstance(node, ast.Import):
            packages |= {
                alias.asname or "prometheus_client" for alias in node.names if "prometheus_client" in alias.name
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and makes_metric(node.func, direct, packages):
            given = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "name")]
            literal = isinstance(given[0], ast.Constant) if given else False
            yield node.lineno, str(given[0].value) if literal else None


def is_metric(name: str) -> bool:
    return name in KINDS or name.endswith("MetricFamily")


def makes_metric(function: ast.expr, direct: set[str], packages: set[str]) -> bool:
    if isinstance(function, ast.Name):
        return function.id in direct
    if not (isinstance(function, ast.Attribute) and is_metric(function.attr)):
        return False
    head = function.value
    while isinstance(head, ast.Attribute):
        head = head.value
    return isinstance(head, ast.Name) and head.id in packages


def misdeclared(modules: Iterable[Path]) -> list[str]:
    wrong: list[str] = []
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        for line, name in declarations(module):
            place = f"{module.name}:{line}"
            if module.name != "metrics.py":
                wrong.append(f"{place}: {name} belongs into a metrics.py")
            if name is None:
                wrong.append(f"{place}: the name is not a literal")
                continue
            if not name.startswith(PREFIX):
                wrong.append(f"{place}: {name} does not begin with {PREFIX}")
            # Prometheus adds _total to a counter, so these two would be one.
            places[name.removesuffix("_total")].append(place)
    return wrong + [f"{name} is declared at {' and '.join(at)}" for name, at in places.items() if len(at) > 1]


def test_every_metric_is_declared_once_and_in_a_metrics_module(sources) -> None:
    assert misdeclared(sources) == []


def test_the_scan_sees_the_metrics_that_there_are(sources) -> None:
    found = [name for module in sources for _, name in declarations(module)]
    assert "mailwarren_sender_accept_to_delivered_seconds" in found
    assert len(found) > 20


def test_violations_are_named(tmp_path) -> None:
    metrics, deliver = tmp_path / "metrics.py", tmp_path / "deliver.py"
    metrics.write_text(
        "import prometheus_client as prom\n"
        "from collections import Counter\n"
        "from prometheus_client import Counter as Tally, Gauge\n"
        "tally = Counter('abc')\n"
        "a = Tally('mailwarren_a_total', 'A.')\n"
        "b = prom.Gauge(name='mailwarren_b', documentation='B.')\n"
        "c = Gauge('c', 'C.')\n"
        "d = Gauge(f'mailwarren_{c}', 'D.')\n"
    )
    deliver.write_text("from prometheus_client import Counter\na = Counter('mailwarren_a', 'A again.')\n")
    assert misdeclared([metrics, deliver]) == [
        "metrics.py:7: c does not begin with mailwarren_",
        "metrics.py:8: the name is not a literal",
        "deliver.py:2: mailwarren_a belongs into a metrics.py",
        "mailwarren_a is declared at metrics.py:5 and deliver.py:2",
    ]
