"""The script: what the personas answer, as data that is checked before it is played."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec

ANY_DOMAIN = ("*",)
"""The ``domains`` of the persona that also answers what knows no recipient yet: the connection, EHLO and MAIL."""

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_LONGEST_TEXT = 480  # a reply line has 512 octets (RFC 5321 §4.5.3.1.5), code, enhanced code and CRLF included

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class ScriptError(ValueError):
    """The script can't be played; the message says what is wrong and where (``$.personas[0].rules[1]``)."""


class Stage(StrEnum):
    """What a rule refuses: the connection, a command, or the end of mail data (``dot``)."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One refusal: ``code enhanced text``, for a ``share`` of the tries, optionally only the first of each.

    A newline in ``text`` makes a reply of several lines. The connection is closed after the reply when ``close`` is
    set, and always after 421.
    """

    stage: Stage
    code: Annotated[int, msgspec.Meta(ge=400, le=599)]
    enhanced: str | None = None
    text: str = "Refused by script"
    share: Share = 1.0
    first_attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    close: bool = False

    def __post_init__(self) -> None:
        if self.enhanced is not None:
            if not _ENHANCED.fullmatch(self.enhanced):
                raise ValueError(f"enhanced is {self.enhanced!r}, expected the form 4.7.1 (RFC 3463)")
            if self.enhanced[0] != str(self.code)[0]:
                raise ValueError(f"enhanced {self.enhanced} contradicts code {self.code}")
        for line in self.text.split("\n"):
            if not (line.isascii() and (line.isprintable() or not line) and len(line) <= _LONGEST_TEXT):
                raise ValueError(f"text must be printable ASCII, at most {_LONGEST_TEXT} characters a line")


class Persona(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How the servers of some recipient domains behave; the first persona whose glob matches a domain answers for it.

    Args:
        domains: globs over the recipient's domain in lower case: ``*``, ``gmail.com``, ``*.example.test``.
        name: what people call it; has no effect.
        rules: tried in their order at each stage.
        latency_ms: wait before every reply.
        dot_latency_ms: wait before the reply to the final dot, on top of ``latency_ms``.
        tarpit_ms_per_rcpt: wait before every reply to RCPT, on top of ``latency_ms``.
        greylist_s: 450 4.7.1 for a recipient until so many seconds after its first RCPT.
        drop_mid_data: share of mails whose connection is cut after the first octets of data, before the final dot.
        drop_after_dot: share of mails that are taken and recorded, and whose connection is cut instead of the answer.
    """

    domains: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    name: str = ""
    rules: tuple[Rule, ...] = ()
    latency_ms: Milliseconds = 0
    dot_latency_ms: Milliseconds = 0
    tarpit_ms_per_rcpt: Milliseconds = 0
    greylist_s: Seconds = 0
    drop_mid_data: Share = 0
    drop_after_dot: Share = 0

    def __post_init__(self) -> None:
        for glob in self.domains:
            if not glob or glob != glob.lower() or "@" in glob or any(c.isspace() for c in glob):
                raise ValueError(f"domains has {glob!r}, expected a glob over a domain in lower case, without @")
        if self.domains != ANY_DOMAIN:
            for at, rule in enumerate(self.rules):
                if rule.stage in {Stage.CONNECT, Stage.MAIL}:
                    raise ValueError(
                        f"rules[{at}] is at stage {rule.stage.value}, where no recipient is known yet: "
                        'only a persona with "domains": ["*"] can have it'
                    )


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Everything that a sink plays. The empty script takes every mail at once.

    Args:
        seed: equal seeds decide equally, whatever the order in which the mails arrive.
        personas: the first that matches a recipient's domain wins; without a match the recipient is taken.
        connection_cap: connections open at once on one listening address; 421 above it.
        size_limit: octets of one mail (SIZE, RFC 1870); 552 above it.
        recipient_limit: recipients of one mail; 452 above it (RFC 5321 §4.5.3.1.8 wants 100 at least).
    """

    seed: int = 0
    personas: tuple[Persona, ...] = ()
    connection_cap: Annotated[int, msgspec.Meta(ge=1)] | None = None
    size_limit: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 26_214_400
    recipient_limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000

    def __post_init__(self) -> None:
        for at, persona in enumerate(self.personas[:-1]):
            if "*" in persona.domains:
                raise ValueError(f"personas[{at}] takes every domain, so personas[{at + 1}] is never reached")


ScriptSource = bytes | str | Mapping[str, Any] | Script


def read_script(source: ScriptSource) -> Script:
    """Check a script given as JSON text, as a mapping, or built in Python.

    Raises:
        ScriptError: not JSON, an unknown or missing field, a wrong type, a value out of range, or a contradiction.
    """
    try:
        if isinstance(source, bytes | str):
            return msgspec.json.decode(source, type=Script)
        # A Script built in Python was never type-checked: msgspec does that on conversion only.
        plain = msgspec.to_builtins(source)
        return msgspec.convert(plain, type=Script)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
        raise ScriptError(str(error)) from error
