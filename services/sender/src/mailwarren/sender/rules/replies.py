"""``replies.toml``: what a server's reply means, and what is done about it."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from mailwarren.contracts.events import Kind
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.shaping import LONGEST_OVERRIDE, Scope
from mailwarren.sender.domain.actions import Action
from mailwarren.sender.domain.classify import ReplyRules, Rule, find_rule
from mailwarren.sender.rules.document import RulesError, read_document, read_table
from mailwarren.sender.rules.patterns import MOST_WAYS, compile_pattern, count_ways
from mailwarren.sender.rules.units import Rate, Span, per_second, seconds
from mailwarren.sender.smtp.replies import ReplyParser, to_reply

MOST_RULES = 200
"""Of a file: their classes are labels of metrics."""

MOST_WAYS_OF_ALL = 4 * MOST_WAYS
"""Of the texts of a file together: one reply meets all of them."""

_Pattern = Annotated[str, Meta(min_length=1)]
_RULE: Mapping[str, Any] = {
    "class": Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")],
    "permanent": Literal["bounced", "failed", "deferred"],
    "codes": Annotated[list[Annotated[int, Meta(ge=400, le=599)]], Meta(min_length=1)],
    "enhanced": _Pattern,
    "text": _Pattern,
    "suppress": bool,
    "sites": Annotated[list[Annotated[str, Meta(min_length=1, max_length=253)]], Meta(min_length=1, max_length=50)],
    "action": dict[str, Any],
    "after": Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}/[1-9][0-9]{0,4}[smh]$")],
    "examples": list[str],
}
_ACTION: Mapping[str, Any] = {
    "suspend": Span,
    "suspend_tenant": Span,
    "rate": Rate,
    "connections": Annotated[int, Meta(ge=1, le=10_000)],
    "for": Span,
}
_ACTIONS = "action is { suspend = … }, { suspend_tenant = … } or { rate = …, connections = …, for = … }"

_READ_AS = re.compile(r"(?P<command>connect|ehlo|mail|rcpt|data|dot) (?P<reply>.*)", re.DOTALL)
"""An example may begin with the command that it answers; without one it answers RCPT."""


def read_replies(documents: Iterable[bytes]) -> ReplyRules:
    """The rules of all files, those of the first before those of the second.

    Raises:
        RulesError: a file cannot be obeyed.
    """
    return tuple(rule for document in documents for rule, _ in read_rules(document))


def read_rules(data: bytes) -> list[tuple[Rule, tuple[str, ...]]]:
    """The rules of one file with their examples, each of which is read by its rule.

    Raises:
        RulesError: the file cannot be obeyed.
    """
    tables = read_document(data, ("rules",)).get("rules", [])
    if not isinstance(tables, list) or len(tables) > MOST_RULES:
        raise RulesError(f"[[rules]] are not at most {MOST_RULES} tables")
    problems: list[str] = []
    found = []
    ways = 0
    for number, table in enumerate(tables, 1):
        where = f"[[rules]] {number}"
        before = len(problems)
        row = read_table(table, _RULE, where, problems)
        if len(problems) == before:
            where += f" ({row['class']})" if "class" in row else ""
            rule = _read_rule(row, where, problems)
            ways += count_ways(row["text"]) if rule and "text" in row else 0
            found.append((rule, tuple(row.get("examples", ()))))
    if ways > MOST_WAYS_OF_ALL:
        problems.append(f"the texts together fit in {ways} ways at one place, more than {MOST_WAYS_OF_ALL}")
    if problems:
        raise RulesError("; ".join(problems))
    rules = [(rule, examples) for rule, examples in found if rule]
    _check_examples(rules)
    return rules


def _read_rule(row: dict[str, Any], where: str, problems: list[str]) -> Rule | None:
    before = len(problems)
    problems += [f"{where} {key} is missing" for key in ("class", "permanent") if key not in row]
    if row.keys().isdisjoint(("codes", "enhanced", "text")):
        problems.append(f"{where} would fit every reply: give it codes, enhanced or text")
    if row.get("suppress") and row.get("permanent") != Kind.BOUNCED:
        problems.append(f"{where} suppress goes with permanent = 'bounced' only")
    if "after" in row and "action" not in row:
        problems.append(f"{where} after is about an action, and there is none")
    patterns = {}
    for key in ("enhanced", "text"):
        try:
            patterns[key] = compile_pattern(row[key]) if key in row else None
        except RulesError as error:
            problems.append(f"{where} {key}: {error}")
    action = _read_action(row, where, problems) if "action" in row else None
    if len(problems) > before:
        return None
    return Rule(
        bounce_class=row["class"],
        permanent=Kind(row["permanent"]),
        codes=frozenset(row.get("codes", ())),
        suppress=row.get("suppress", False),
        sites=frozenset(row.get("sites", ())),
        action=action,
        key=_key_of(row),
        **patterns,
    )


def _read_action(row: dict[str, Any], where: str, problems: list[str]) -> Action | None:
    before = len(problems)
    found = read_table(row["action"], _ACTION, f"{where} action", problems)
    limits = found.keys() & {"rate", "connections"}
    spans = found.keys() & {"suspend", "suspend_tenant", "for"}
    if len(spans) != 1 or bool(limits) != ("for" in found) or found.get("rate") == "none":
        problems.append(f"{where} {_ACTIONS}")
    if len(problems) > before:
        return None
    (span,) = spans
    count, _, within = row.get("after", "1/1s").partition("/")
    action = Action(
        seconds(found[span]),
        Scope.TENANT if span == "suspend_tenant" else Scope.SITE,
        suspend=span != "for",
        rate=per_second(found.get("rate")),
        connections=found.get("connections"),
        after=int(count),
        within=seconds(within) if "after" in row else 0.0,
    )
    if max(action.seconds, action.within) > LONGEST_OVERRIDE:
        problems.append(f"{where} {span} and after are {LONGEST_OVERRIDE / 3600:g} hours at most")
    return action


def _key_of(row: Mapping[str, Any]) -> str:
    """What tells a rule from others at all senders: its class, and a digest of what it is about and does."""
    about = repr(sorted((key, value) for key, value in row.items() if key != "examples"))
    return f"{row['class']}:{hashlib.sha256(about.encode()).hexdigest()[:12]}"


def _check_examples(rules: list[tuple[Rule, tuple[str, ...]]]) -> None:
    problems = []
    in_order = tuple(rule for rule, _ in rules)
    for number, (rule, examples) in enumerate(rules, 1):
        where = f"[[rules]] {number} ({rule.bounce_class}) examples:"
        for example in examples:
            try:
                reply = parse_example(example)
            except RulesError as error:
                problems.append(f"{where} {error}")
                continue
            reads = find_rule(reply, in_order, min(rule.sites, default=None))
            if reads is not rule:
                by = f"rule {in_order.index(reads) + 1} ({reads.bounce_class})" if reads else "no rule"
                problems.append(f"{where} {example!r} is read by {by}")
    if problems:
        raise RulesError("; ".join(problems))


def parse_example(line: str) -> Reply:
    """A reply with, or without, the command before it that it answers: ``connect 421 4.7.0 Too many``.

    Raises:
        RulesError: as :func:`parse_reply`.
    """
    found = _READ_AS.fullmatch(line)
    return parse_reply(found["reply"], Command(found["command"])) if found else parse_reply(line)


def parse_reply(line: str, command: Command = Command.RCPT) -> Reply:
    """A reply as a server writes it: ``550 5.1.1 No such user``.

    Raises:
        RulesError: it is no negative reply.
    """
    replies = ReplyParser().feed(line.encode("utf-8", "replace") + b"\r\n")
    if len(replies) != 1 or not (reply := to_reply(replies[0], command)).code >= 400:  # noqa: PLR2004
        raise RulesError(f"{line!r} is no refusal of a server, such as '550 5.1.1 No such user'")
    return reply
