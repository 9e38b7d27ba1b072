"""What a run of crash rounds came to, for a person."""

from mailwarren.chaos.crew import Settling
from mailwarren.chaos.judge import BOUND
from mailwarren.chaos.rounds import Account


def report(account: Account) -> str:
    """A table of the rounds, the four counts, and the verdict."""
    lines = [
        "| round | killed | started | left | outcome unconfirmed | dot unanswered | gauge before | oldest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for blow in account.blows:
        costs = [cost for cost in account.costs if cost.death in blow.deaths]
        gauges = " ".join("-" if cost.death.gauge is None else str(cost.death.gauge) for cost in costs)
        lines.append(
            f"| {blow.round.number} | {' '.join(cost.death.sender.removeprefix('sender') for cost in costs)} "
            f"| {blow.started} | {blow.left} | {sum(len(cost.unconfirmed) for cost in costs)} "
            f"| {sum(len(cost.unanswered) for cost in costs)} | {gauges} "
            f"| {max((cost.oldest for cost in costs), default=0.0) * 1000:.0f} ms |"
        )
    unconfirmed = sum(len(cost.unconfirmed) for cost in account.costs)
    unanswered = sum(len(cost.unanswered) for cost in account.costs)
    rows = ", ".join(f"{count:,} {state}" for state, count in account.rows.most_common())
    lines += [
        "",
        f"promised by the API: {account.promised:,}; rows: {rows}; at the sink: {account.arrived:,}",
        f"left in queues: {account.waiting or 'nothing'}; lost: {account.lost}",
        f"sent again: {unconfirmed} whose outcome was unconfirmed, {unanswered} whose final dot was unanswered",
        _settled(account.settling),
        f"waited for a dead sender's claim to run out (ten minutes, the clock was put forward): {account.held_up}",
        f"accepted more than once, by the sink's ledger: {account.twice}",
        f"most for one kill: {account.worst} of {len(account.costs)} kills (bound: {BOUND})",
        f"without an explanation: {len(account.unexplained)}",
    ]
    lines += [f"    {copies}" for copies in account.unexplained[:5]]
    if not account.difference.balanced:
        lines.append(f"the ledger: {account.difference}")
    lines.append(f"{'HOLDS' if account.holds else 'DOES NOT HOLD'}, in {account.seconds:.0f} s")
    return "\n".join(lines)


def _settled(settling: Settling) -> str:
    half, most = settling.within(0.5), settling.within(0.95)
    return (
        f"settled: {settling.answered} questions answered, half of them within {half} s, 95 % within {most} s; "
        f"{settling.unanswered} not answered"
    )
