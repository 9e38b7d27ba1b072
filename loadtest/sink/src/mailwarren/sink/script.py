"""The script: what the personas answer and when, as data that is checked before it is played."""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import msgspec

from mailwarren.sink.persona import OF_RECIPIENTS, Limit, Persona, Stage

_DAY = 86_400
_OF_CONNECTIONS = frozenset(stage.value for stage in set(Stage) - OF_RECIPIENTS)


class ScriptError(ValueError):
    """The script can't be played; the message says what is wrong and where (``$.personas[0].rules[1]``)."""


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Something that happens for a time: its persona stands in front of all others, those of earlier events too.

    Args:
        at_s: seconds from the start of the script (of an event that is added later: from then).
        for_s: how long; until the script ends when left out.
        persona: who answers meanwhile, for its domains or hosts.
    """

    at_s: Annotated[float, msgspec.Meta(ge=0, le=30 * _DAY)] = 0
    for_s: Annotated[float, msgspec.Meta(gt=0, le=30 * _DAY)] | None = None
    persona: Persona


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Everything that a sink plays. The empty script takes every mail at once.

    Args:
        seed: equal seeds decide equally, whatever the order in which the mails arrive.
        personas: the first that matches a recipient's domain wins; without a match the recipient is taken.
        timeline: what changes as the script goes on.
        connection_cap: connections open at once on one listening address; 421 above it.
        size_limit: octets of one mail (SIZE, RFC 1870); 552 above it.
        recipient_limit: recipients of one mail; 452 above it (RFC 5321 §4.5.3.1.8 wants 100 at least).
        now: what is in force and what comes, in the answers of ``GET /script``; of no effect in a script, so that an
            answer can be played again.
    """

    seed: int = 0
    personas: tuple[Persona, ...] = ()
    timeline: tuple[Event, ...] = ()
    connection_cap: Limit | None = None
    size_limit: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 26_214_400
    recipient_limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    now: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for at, persona in enumerate(self.personas[:-1]):
            if "*" in persona.globs and not persona.hosts:
                raise ValueError(f"personas[{at}] takes every domain, so personas[{at + 1}] is never reached")


ScriptSource = bytes | str | Mapping[str, Any] | Script


def read_script(source: ScriptSource) -> Script:
    """Check a script given as JSON text, as a mapping, or built in Python.

    Raises:
        ScriptError: not JSON, an unknown or missing field, a wrong type, a value out of range, or a contradiction.
    """
    try:
        # A Script built in Python was never type-checked: msgspec does that on conversion only.
        plain = msgspec.json.decode(source) if isinstance(source, bytes | str) else msgspec.to_builtins(source)
        script = msgspec.convert(_expanded(plain), type=Script)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
        raise ScriptError(str(error)) from error
    return msgspec.structs.replace(script, now=None)


def read_toml(text: bytes) -> Script:
    """Check a script given as TOML.

    Raises:
        ScriptError: as ``read_script``.
    """
    try:
        plain = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScriptError(str(error)) from error
    return read_script(plain)


def read_event(source: bytes, script: Script) -> Event:
    """Check an event given as JSON text, whose persona may be ``like`` one of ``script``.

    Raises:
        ScriptError: as ``read_script``.
    """
    try:
        plain = msgspec.json.decode(source)
        if isinstance(plain, dict) and "persona" in plain:
            own = {persona.name: msgspec.to_builtins(persona) for persona in script.personas if persona.name}
            plain = plain | {"persona": _like(plain["persona"], own, "$.persona")}
        return msgspec.convert(plain, type=Event)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ScriptError(str(error)) from error


@cache
def built_in_personas() -> dict[str, dict[str, Any]]:
    """The personas that come with the sink, by name; for ``like``."""
    text = files("mailwarren.sink").joinpath("personas.toml").read_text(encoding="utf-8")
    return {name: {"name": name} | persona for name, persona in tomllib.loads(text).items()}


def _expanded(plain: Any) -> Any:
    """The script with every ``like`` replaced by what it means."""
    if not isinstance(plain, dict):
        return plain
    known: dict[str, Any] = {}
    out = dict(plain)
    if isinstance(plain.get("personas"), list):
        out["personas"] = personas = []
        for at, persona in enumerate(plain["personas"]):
            personas.append(_like(persona, known, f"$.personas[{at}]"))
            known |= dict(_named(personas[-1]))
    if isinstance(plain.get("timeline"), list):
        out["timeline"] = [
            event | {"persona": _like(event["persona"], known, f"$.timeline[{at}].persona")}
            if isinstance(event, dict) and "persona" in event
            else event
            for at, event in enumerate(plain["timeline"])
        ]
    return out


def _named(persona: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(persona, dict) and isinstance(persona.get("name"), str):
        yield persona["name"], persona


def _like(persona: Any, known: Mapping[str, Any], place: str) -> Any:
    """A persona laid over the one that it is like: one of the script before it, or a built-in one."""
    if not isinstance(persona, dict) or "like" not in persona:
        return persona
    name = persona["like"]
    base = (known.get(name) or built_in_personas().get(name)) if isinstance(name, str) else None
    if base is None:
        names = ", ".join(sorted({*known, *built_in_personas()}))
        raise ScriptError(f"like is {name!r}, expected one of {names} - at `{place}`")
    own = {key: value for key, value in persona.items() if key != "like"}
    inherited = {key: value for key, value in base.items() if key not in own}
    if "domains" in own or "hosts" in own:
        inherited = {key: value for key, value in inherited.items() if key not in {"domains", "hosts"}}
    merged = inherited | own
    if merged.get("domains", ["*"]) not in (["*"], []):
        _leave_out_connections(merged, inherited)
    return merged


def _leave_out_connections(merged: dict[str, Any], inherited: Mapping[str, Any]) -> None:
    """A persona chosen by domain inherits nothing that is said before a recipient is known."""
    for key in ("tls", "requires_tls", "chunking", "size_limit", "leaves_out"):
        if key in inherited:
            del merged[key]
    for key in ("rules", "mix"):
        if key in inherited:
            merged[key] = [one for one in inherited[key] if one["stage"] not in _OF_CONNECTIONS]
    if waits := inherited.get("latency_by_stage_ms"):
        merged["latency_by_stage_ms"] = {s: wait for s, wait in waits.items() if s not in _OF_CONNECTIONS}
