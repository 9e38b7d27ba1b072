"""What must hold, as figures and as ratios to the rivals of the same run."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailwarren.bench.result import Result


@dataclass(frozen=True)
class Check:
    """One sentence and whether it holds."""

    text: str
    holds: bool


def at_least(what: str, value: float, bound: float, unit: str = "") -> Check:
    """``value`` may not be below ``bound``."""
    return Check(f"{what}: {value:,.1f}{unit} (at least {bound:,.0f}{unit})", value >= bound)


def at_most(what: str, value: float, bound: float, unit: str = "") -> Check:
    """``value`` may not be above ``bound``."""
    return Check(f"{what}: {value:,.1f}{unit} (at most {bound:,.0f}{unit})", value <= bound)


def check(runs: Mapping[str, Result]) -> list[Check]:
    """The checks for which ``runs`` has what they need; the keys are those of :mod:`.main`."""
    found = []
    bulk, single, steady = runs.get("bulk"), runs.get("single"), runs.get("steady")
    if bulk:
        found += [
            at_least("bulk", bulk.rate, 3000, " mails/s"),
            at_most("sender in bulk", bulk.cpu["sender"], 150, " µs a mail"),
            at_most("tracker and Postgres in bulk", bulk.cpu["tracker"] + bulk.cpu["postgres"], 150, " µs a mail"),
        ]
        found += _times("bulk", bulk, runs.get("textbook bulk"), 20)
        found += _times("bulk", bulk, runs.get("postfix"), 5)
    if single:
        found.append(at_least("single posts", single.rate, 500, " mails/s"))
        found += _times("single posts", single, runs.get("textbook single"), 4)
    if steady:
        found.append(at_most("accept p99 at 300/s", steady.latency["p99"] * 1000, 150, " ms"))
    if high := runs.get("high"):
        found.append(at_most("high lane under bulk, accept to 250, p95", high.latency["p95"], 2, " s"))
        found.append(at_least("bulk waiting at the first high post", high.notes["bulk_waiting_before"], 200_000))
        found.append(at_least("bulk waiting after the last high post", high.notes["bulk_waiting_after"], 1))
    if slow := runs.get("connections"):
        found.append(at_least("1,000 connections to a sink of 500 ms", slow.rate, 1200, " mails/s"))
        found.append(at_most("that sender's memory", slow.notes["sender_megabytes"], 250, " MB"))
    if (signed := runs.get("signed")) and (slow := runs.get("unsigned and slow")):
        found.append(at_least("signed bulk", signed.rate, 900, " mails/s"))
        beside = signed.cpu["sender"] - slow.cpu["sender"] - signed.notes["openssl_us"]
        found.append(at_most("the sender's part of a signature, without OpenSSL", beside, 150, " µs a mail"))
    if (many := runs.get("many domains")) and (one := runs.get("one domain")):
        what = f"with {many.notes['domains']:.0f} domains beside one"
        found.append(at_most(f"the sender {what}", many.cpu["sender"] / one.cpu["sender"] * 100, 110, " %"))
        found.append(at_most(f"all parts {what}", _parts(many) / _parts(one) * 100, 110, " %"))
    backlogs = [one for name, one in runs.items() if name.startswith("backlog")]
    if backlogs:
        rates = [one.rate for one in backlogs]
        found.append(at_least("slowest of all backlogs beside the fastest", min(rates) / max(rates) * 100, 80, " %"))
    return found


def _parts(run: Result) -> float:
    """CPU of a mail without the client's."""
    return sum(spent for part, spent in run.cpu.items() if part != "client")


def _times(what: str, ours: Result, theirs: Result | None, bound: float) -> list[Check]:
    return [at_least(f"{what} beside {theirs.name}", ours.rate / theirs.rate, bound, " times")] if theirs else []
