"""Lines for people. Pure."""

from mailwarren.load.metrics import Snapshot


def clock(seconds: float) -> str:
    """Minutes and seconds, such as `` 1:05``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:2}:{rest:02}"


def progress_line(now: Snapshot, rate: float, left: float | None) -> str:
    """The run now.

    Args:
        now: the numbers.
        rate: mails accepted a second.
        left: seconds until it ends; None when nobody said.
    """
    entries = list(now.entries)
    calls = sum(one.requests for one in entries if one.type in {"GET", "POST"})
    pressed = sum(one.requests for one in entries if one.type == "backpressure")
    failed = sum(one.failures for one in entries)
    parts = [f"{now.users} users", f"{calls:,} answers", f"accepted {now.accepted:,} mails ({rate:,.0f}/s)"]
    parts += [f"{pressed:,} made again"] * bool(pressed)
    parts += [f"{failed:,} FAILED"] * bool(failed)
    parts.append("until you stop it" if left is None else f"{clock(left).strip()} left" if left else "ending")
    return " | ".join(parts)
