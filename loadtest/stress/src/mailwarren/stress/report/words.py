"""Numbers as people read them."""

from mailwarren.stress.grid import Row

OURS = "Mailwarren"
NAMES = {Row.SMTPLIB: "smtplib loops", Row.TEXTBOOK: "textbook (FastAPI, Celery)", Row.POSTFIX: "Postfix as a relay"}
NONE = "-"
_DIGITS = 3


def name_of(row: Row) -> str:
    """Whose cell it is."""
    return NAMES.get(row, OURS)


def seconds(value: float | None) -> str:
    """Three digits and the unit that fits: ``18 ms``, ``4.21 s``."""
    if value is None:
        return NONE
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{_short(value)} s"


def whole(value: float) -> str:
    """``12,345``."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """``4.98 %``."""
    return f"{share * 100:.3g} %"


def times(ratio: float) -> str:
    """``3.4 times``."""
    return f"{_short(ratio)} times"


def _short(value: float) -> str:
    whole_digits = len(str(int(value)))
    return f"{value:,.{max(0, _DIGITS - whole_digits)}f}"


def between(low: str, high: str) -> str:
    """``a to b``, or one of them when they are equal."""
    return low if low == high else f"{low} to {high}"


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def table(head: list[str], rows: list[list[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns and the last one of words are flush left by their content."""
    marks = ["---" if place < left else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, marks, *rows])
