"""The pages for people: the newest mails, and one mail opened. Plain HTML without scripts; everything is escaped."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from mailwarren.sink.mailbox import Summary
from mailwarren.sink.message import View
from mailwarren.sink.store import Stats

_REFRESH_S = 5
_DOMAINS_SHOWN = 12

_STYLE = """
:root { color-scheme: light dark; --line: #e3e1dc; --soft: #f7f6f3; --ink: #23211e; --dim: #7a756c; --card: #fff;
  --good: #1d7a4a; --bad: #b3362b; --open: #9a6a00; --link: #2257a8 }
@media (prefers-color-scheme: dark) { :root { --line: #34322e; --soft: #1b1a18; --ink: #e9e6df; --dim: #9b958a;
  --card: #242320; --good: #6fcf97; --bad: #f08a80; --open: #e0b252; --link: #8db8ff } }
* { box-sizing: border-box }
body { margin: 0; background: var(--soft); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px }
h1 { font-size: 20px; margin: 0 0 2px } h2 { font-size: 15px; margin: 28px 0 8px }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
.dim { color: var(--dim) } .good { color: var(--good) } .bad { color: var(--bad) } .open { color: var(--open) }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 10px; margin: 18px 0 }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px }
.tile { padding: 10px 14px } .tile b { display: block; font-size: 22px; font-variant-numeric: tabular-nums }
.tile span { color: var(--dim); font-size: 13px }
.card { overflow: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: 7px 14px; border-top: 1px solid var(--line); vertical-align: top }
thead th { border-top: 0; color: var(--dim); font-weight: 500; font-size: 13px }
td.n { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap } th.n { text-align: right }
td.cut { max-width: 340px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
td.when { white-space: nowrap; font-variant-numeric: tabular-nums }
form { display: flex; gap: 8px; margin: 24px 0 10px } input { flex: 1; max-width: 380px }
input, button { font: inherit; padding: 6px 12px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); color: inherit }
iframe { width: 100%; height: 440px; border: 0; background: #fff; display: block; border-radius: 10px }
pre { margin: 0; padding: 14px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px }
.fields th { width: 180px; font-weight: 500; color: var(--dim) } .fields td { overflow-wrap: anywhere }
"""


def _document(title: str, body: str, *, refresh: bool = False) -> str:
    again = f'<meta http-equiv="refresh" content="{_REFRESH_S}">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,">{again}<title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return f'<span title="{moment:%Y-%m-%d %H:%M:%S %Z}">{moment:%H:%M:%S}</span>'


def _reply(mail: Summary) -> str:
    if mail.answered_at is None:
        return '<span class="open" title="received, but no answer was given (yet)">no answer</span>'
    return f'<span class="{"good" if mail.code < 400 else "bad"}">{mail.code}</span>'  # noqa: PLR2004


def index(stats: Stats, mails: Sequence[Summary], *, to: str, scene: str = "") -> str:
    """The counts, the newest mails (those to one address when ``to`` is given), and ``scene``: the script."""
    found = "".join(_row(mail) for mail in mails)
    empty = '<tr><td colspan="6" class="dim">No mail yet.</td></tr>'
    return _document(
        "Mailwarren sink",
        '<h1>Mailwarren sink</h1><div class="dim">What really arrived over SMTP: '
        "nothing sent here leaves this machine. "
        '<a href="/stats">stats</a> · <a href="/pairs">pairs</a> · <a href="/records?limit=1000">records</a> · '
        '<a href="/ledger?limit=1000">ledger</a> · <a href="/windows">windows</a> · '
        '<a href="/script">script</a> · <a href="/personas">personas</a> · <a href="/metrics">metrics</a></div>'
        f"{_tiles(stats)}"
        '<form method="get" action="/"><input name="to" type="search" placeholder="recipient address" '
        f'aria-label="recipient address" value="{escape(to)}"><button>Find</button></form>'
        '<div class="card"><table><thead><tr><th class="n">#</th><th>Received</th><th>To</th><th>Subject</th>'
        '<th class="n">Size</th><th>Reply</th></tr></thead>'
        f"<tbody>{found or empty}</tbody></table></div>{scene}{_domains(stats)}",
        refresh=True,
    )


def _tiles(stats: Stats) -> str:
    counts = (
        ("accepted", stats.accepted, "answered with 250"),
        ("unique", stats.unique, "different (Message-ID, recipient) pairs accepted"),
        ("duplicates", stats.duplicates, "copies accepted beyond the first"),
        ("refused", stats.refused, "4xx and 5xx"),
        ("unanswered", stats.unanswered, "received, but the connection ended before the answer"),
        ("dropped", stats.dropped, "connections cut by the script"),
        ("connections", stats.connections_open, "open now"),
    )
    tiles = "".join(
        f'<div class="tile" title="{hint}"><b>{_count(count)}</b><span>{name}</span></div>'
        for name, count, hint in counts
    )
    return f'<div class="tiles">{tiles}</div>'


def _count(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _row(mail: Summary) -> str:
    to = escape(mail.recipients[0]) if mail.recipients else ""
    more = f' <span class="dim">+{len(mail.recipients) - 1}</span>' if len(mail.recipients) > 1 else ""
    subject = escape(mail.subject) or '<span class="dim">(no subject)</span>'
    return (
        f'<tr><td class="n dim">{mail.n}</td><td class="when">{_time(mail.received_at)}</td>'
        f'<td class="cut">{to}{more}</td><td class="cut"><a href="/view/{mail.n}">{subject}</a></td>'
        f'<td class="n dim">{mail.size:,}</td><td>{_reply(mail)}</td></tr>'
    )


def _domains(stats: Stats) -> str:
    busiest = sorted(stats.by_domain.items(), key=lambda item: (-item[1].received - item[1].refused, item[0]))
    if not busiest:
        return ""
    rows = "".join(
        f'<tr><td class="cut">{escape(domain)}</td><td class="n good">{count.accepted:,}</td>'
        f'<td class="n bad">{count.refused:,}</td><td class="n open">{count.unanswered:,}</td>'
        f'<td class="n">{count.dropped:,}</td></tr>'
        for domain, count in busiest[:_DOMAINS_SHOWN]
    )
    title = (
        f"Domains ({len(busiest):,})"
        if len(busiest) <= _DOMAINS_SHOWN
        else (f"The {_DOMAINS_SHOWN} busiest of {len(busiest):,} domains")
    )
    return (
        f'<h2>{title}</h2><div class="card"><table><thead><tr><th>Domain</th><th class="n">Accepted</th>'
        '<th class="n">Refused</th><th class="n">Unanswered</th><th class="n">Dropped</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def mail(summary: Summary, content: View) -> str:
    """One mail: its envelope, its html in a sandbox, its text, its other parts and its header."""
    s = summary
    recipients = ", ".join(f'<a href="/?to={quote(to)}">{escape(to)}</a>' for to in s.recipients)
    envelope = (
        ("MAIL FROM", escape(s.sender) or "&lt;&gt;"),
        ("RCPT TO", recipients),
        ("Message-ID", escape(s.message_id) or '<span class="bad">missing</span>'),
        ("Final dot", f"{_time(s.received_at)}, {s.size:,} octets"),
        ("Reply", _reply(s)),
    )
    links = f'<a href="/">all mails</a> · <a href="/messages/{s.n}/raw">raw</a> · <a href="/messages/{s.n}">JSON</a>'
    title = escape(s.subject) or "(no subject)"
    parts = [f'<h1>{title}</h1><div class="dim">{links}</div><h2>Envelope</h2>', _fields(envelope)]
    if content.html is not None:
        parts.append(
            '<h2>HTML</h2><div class="card">'
            f'<iframe sandbox="" src="/messages/{s.n}/html" title="the html part"></iframe></div>'
        )
    if content.text is not None:
        parts.append(f'<h2>Text</h2><div class="card"><pre>{escape(content.text)}</pre></div>')
    if content.parts:
        others = [(escape(p.content_type), f"{escape(p.filename or '')} {p.size:,} octets") for p in content.parts]
        parts += ["<h2>Other parts</h2>", _fields(others)]
    parts += ["<h2>Header</h2>", _fields([(escape(name), escape(value)) for name, value in content.headers])]
    return _document(s.subject or "Mail", "".join(parts))


def _fields(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<div class="card"><table class="fields">{cells}</table></div>'
