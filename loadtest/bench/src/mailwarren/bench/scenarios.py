"""Which runs share a stand, and how many mails they take."""

from collections.abc import Callable, Iterable

from mailwarren.bench import ours, rivals, signed
from mailwarren.bench.result import Result
from mailwarren.bench.rivals import Missing
from mailwarren.bench.stand import Stand
from mailwarren.bench.work import make_work
from mailwarren.contracts.lanes import Lane

Found = dict[str, Result | Missing]
BACKLOGS = (1_000, 10_000, 100_000, 1_000_000)
BACKLOG_MEASURED = 40_000
NOT_BULK = {f"sender-{lane}": (lane,) for lane in Lane if lane is not Lane.BULK}
"""The senders of a stand whose bulk waits until its sender is started."""
WIDE = {"MAILWARREN_CONNECTIONS": "1000", "MAILWARREN_IN_FLIGHT": "2000", "MAILWARREN_MESSAGES_PER_CONNECTION": "1000"}


def by_names(names: Iterable[str]) -> dict[str, Callable[[float], Found]]:
    """Title and function of each stand that ``names`` need."""
    wanted = set(names)
    plain = wanted & {"bulk", "single", "steady"}
    others = wanted & {"smtplib", "textbook", "postfix"}
    chosen: dict[str, Callable[[float], Found]] = {}
    if plain:
        chosen[f"Mailwarren: {', '.join(sorted(plain))}"] = lambda scale: run_plain(plain, scale)
    if others:
        chosen[f"The rivals: {', '.join(sorted(others))}"] = lambda scale: run_rivals(others, scale)
    if "high" in wanted:
        chosen["High lane under bulk"] = run_high
    if "connections" in wanted:
        chosen["1,000 connections to a slow sink"] = run_connections
    if "backlog" in wanted:
        chosen["Backlogs of a thousand to a million"] = run_backlogs
    if "signed" in wanted:
        chosen["Bulk, unsigned and signed"] = run_signed
    if "domains" in wanted:
        chosen["Bulk of one domain and of a thousand"] = run_domains
    return chosen


def run_plain(names: set[str], scale: float) -> Found:
    """Our own runs, after a warm-up that does not count."""
    found: Found = {}
    with Stand() as stand:
        ours.warm_up(stand)
        if "bulk" in names:
            found["bulk"] = ours.run_bulk(stand, int(30_000 * scale))
        if "single" in names:
            found["single"] = ours.run_single(stand, int(5_000 * scale))
        if "steady" in names:
            found["steady"] = ours.run_single_at(stand, 300, 15 * scale)
    return found


def run_rivals(names: set[str], scale: float) -> Found:
    """The rivals, on a stand without our services."""
    found: Found = {}
    with Stand(services=False) as stand:
        if "smtplib" in names:
            found["smtplib"] = rivals.run_smtplib(stand.sink, make_work(int(3_000 * scale)))
        if "textbook" in names:
            work = make_work(int(2_000 * scale))
            found["textbook bulk"] = rivals.run_textbook(stand.sink, stand, work, single=False)
            found["textbook single"] = rivals.run_textbook(stand.sink, stand, work, single=True)
        if "postfix" in names:
            found["postfix"] = rivals.run_postfix(stand.sink, make_work(int(5_000 * scale)))
    return found


def run_high(scale: float) -> Found:
    """1,000 high mails at 20 a second; what waits at first is so much that 200,000 are left for most of that time."""
    with Stand(senders=NOT_BULK) as stand:
        return {"high": ours.run_high_under_bulk(stand, int(400_000 * scale), int(1_000 * scale), 20)}


def run_connections(scale: float) -> Found:
    """One sender of bulk with 1,000 connections."""
    with Stand(env={"sender": WIDE}) as stand:
        return {"connections": ours.run_connections(stand, int(40_000 * scale))}


def run_backlogs(scale: float) -> Found:
    """The same rate, whatever waits."""
    found: Found = {}
    for waiting in (int(count * scale) for count in BACKLOGS):
        with Stand(senders=NOT_BULK) as stand:
            found[f"backlog {waiting}"] = ours.run_backlog(stand, waiting, BACKLOG_MEASURED)
    return found


def run_signed(scale: float) -> Found:
    """The same bulk before and after its domain has keys."""
    with Stand(env={"sender": {"MAILWARREN_CONNECTIONS": str(signed.CONNECTIONS)}}) as stand:
        ours.warm_up(stand)
        return dict(signed.run_signed(stand, int(20_000 * scale)))


def run_domains(scale: float) -> Found:
    """Making the domains takes longer than the mail."""
    with Stand() as stand:
        ours.warm_up(stand)
        return dict(signed.run_domains(stand, int(1_000 * scale), each=20))
