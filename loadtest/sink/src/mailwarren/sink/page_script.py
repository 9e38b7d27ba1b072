"""The part of the page that shows the script: personas, timeline, and what each place has seen."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from mailwarren.sink.persona import Choice, Persona, Rule
from mailwarren.sink.script import Script
from mailwarren.sink.sites import Site, Sites
from mailwarren.sink.timeline import Scheduled, State

_CLASS = {State.IN_FORCE: "open", State.COMING: "", State.OVER: "dim", State.CANCELED: "dim"}
_MOST_WORDS = 9


def script_cards(script: Script, events: Sequence[Scheduled], sites: Sites, now: float) -> str:
    """Personas, timeline and sites, as far as there are any."""
    return _personas(script.personas) + _timeline(events, now) + _sites(sites)


def _table(title: str, heads: Sequence[str], rows: str) -> str:
    head = "".join(f"<th{_number(name)}>{name}</th>" for name in heads)
    return f'<h2>{title}</h2><div class="card"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _number(head: str) -> str:
    return ' class="n"' if head in {"Open", "Mails", "Accepted", "Refused", "Starts", "Ends"} else ""


def _personas(personas: Sequence[Persona]) -> str:
    rows = "".join(
        f'<tr><td>{escape(persona.label)}</td><td class="cut">{escape(_who(persona))}</td>'
        f"<td>{escape(_what(persona))}</td></tr>"
        for persona in personas
    )
    return _table("Personas", ("Name", "For", "Does"), rows) if rows else ""


def _who(persona: Persona) -> str:
    parts = [", ".join(persona.domains)] if persona.domains else []
    if persona.hosts:
        parts.append(f"at {', '.join(persona.hosts)}")
    return " ".join(parts)


def _what(persona: Persona) -> str:
    outcomes: list[Rule | Choice] = [*persona.rules, *persona.mix]
    said = [f"{o.stage.value} {o.code or 'reset'}" for o in outcomes if o.code or o.reset]
    set_fields = (
        (persona.greylist_s, f"greylists {persona.greylist_s:g} s"),
        (persona.latency_ms or persona.latency_by_stage_ms, "latency"),
        (persona.dot_latency_ms, "slow final dot"),
        (persona.octets_per_s or persona.tarpit_ms_per_rcpt, "tarpit"),
        (persona.drop_mid_data or persona.drop_after_dot, "drops"),
        (persona.tls != "default", f"TLS {persona.tls.value}"),
        (persona.requires_tls, "requires TLS"),
        (persona.connections, f"{persona.connections} connections"),
        (persona.connections_per_client, f"{persona.connections_per_client} of a client"),
        (persona.mails_per_connection, f"{persona.mails_per_connection} mails each"),
        (persona.recipients_per_s, f"{persona.recipients_per_s or 0:g} recipients/s"),
    )
    words = [*dict.fromkeys(said), *(text for there, text in set_fields if there)]
    more = f", {len(words) - _MOST_WORDS} more" if len(words) > _MOST_WORDS else ""
    return (", ".join(words[:_MOST_WORDS]) + more) or "takes everything"


def _timeline(events: Sequence[Scheduled], now: float) -> str:
    rows = "".join(
        f'<tr class="{_CLASS[event.state]}"><td>{escape(event.persona.label)}</td>'
        f'<td class="cut">{escape(_who(event.persona))}</td><td>{escape(_what(event.persona))}</td>'
        f'<td class="n">{_moment(event.starts_at, now)}</td><td class="n">{_moment(event.ends_at, now)}</td>'
        f"<td>{event.state.value.replace('_', ' ')}</td></tr>"
        for event in events
    )
    return _table("Timeline", ("Name", "For", "Does", "Starts", "Ends", "State"), rows) if rows else ""


def _moment(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    clock = f"{datetime.fromtimestamp(at, UTC).astimezone():%H:%M:%S}"
    return f'{clock} <span class="dim">in {at - now:,.0f} s</span>' if at > now else clock


def _sites(sites: Sites) -> str:
    """The places of what is connected or has been: more than one, or the counts above say it all."""
    seen = [
        site
        for site in (*sites.personas.values(), *sites.addresses.values())
        if site.mails or site.replies or site.open
    ]
    rows = "".join(map(_site, seen))
    heads = ("Persona or address", "Open", "Mails", "Accepted", "Refused")
    return _table("Places", heads, rows) if rows else ""


def _site(site: Site) -> str:
    accepted = site.replies[250]
    return (
        f'<tr><td class="cut">{escape(site.name)}</td><td class="n">{site.open:,}</td><td class="n">{site.mails:,}</td>'
        f'<td class="n good">{accepted:,}</td><td class="n bad">{site.replies.total() - accepted:,}</td></tr>'
    )
