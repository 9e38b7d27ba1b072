"""``mailwarren-bench``: runs, a table, the checks and one JSON line; exit status 1 when a check fails."""

import argparse
import sys
from collections.abc import Callable, Sequence

import msgspec

from mailwarren.bench.result import Result
from mailwarren.bench.rivals import Missing

RUNS = (
    "bulk", "single", "steady", "smtplib", "textbook", "postfix",
    "high", "connections", "backlog", "signed", "domains",
)  # fmt: skip
STANDARD = RUNS[:6]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="mailwarren-bench", description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)}; without any: the first six")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer mails in every run (default 1)")
    asked = parser.parse_args(argv)
    if unknown := set(asked.runs) - set(RUNS):
        parser.error(f"no such run: {', '.join(sorted(unknown))}")

    from mailwarren.bench import scenarios
    from mailwarren.bench.check import check
    from mailwarren.bench.stand import tidy_on_sigterm
    from mailwarren.bench.table import table, verdicts

    tidy_on_sigterm()
    found: dict[str, Result | Missing] = {}
    runs: dict[str, Callable[[float], dict[str, Result | Missing]]] = scenarios.by_names(asked.runs or STANDARD)
    for title, run in runs.items():
        print(f"==> {title}", file=sys.stderr, flush=True)
        found |= run(asked.scale)
    results = {name: one for name, one in found.items() if isinstance(one, Result)}
    checks = check(results)
    print(table(list(found.values())))
    print(verdicts(checks))
    rows = {name: msgspec.to_builtins(one) | {"rate": one.rate} for name, one in results.items()}
    print(msgspec.json.encode({"runs": rows, "checks": {one.text: one.holds for one in checks}}).decode())
    return 0 if all(one.holds for one in checks) else 1
