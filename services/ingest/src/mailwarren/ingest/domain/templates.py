"""Templates: what an author may write, and what is known of a version of one. Pure; compiling is :mod:`..markup`'s."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mailwarren.contracts.template import TemplateProblem, required_variables
from mailwarren.ingest.domain.headers import check_value
from mailwarren.ingest.domain.refusal import invalid, missing
from mailwarren.ingest.domain.requests import Addresses, Variables
from mailwarren.ingest.domain.validation import MAX_RECIPIENTS, check_bodies, check_mailbox, check_mailboxes, listed

MAX_NAME = 200
MAX_VARIABLES = 50
MAX_VARIABLE_KEY = 50
MAX_FALLBACKS = 4096
"""Bytes of all fallbacks together: they travel with each mail."""
MAX_VERSIONS = 50
"""Versions that are kept of a template."""

_ALIAS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_KEY = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{MAX_VARIABLE_KEY - 1}}}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_RESERVED = frozenset({
    "contact", "this", "UNSUBSCRIBE_URL", "RESEND_UNSUBSCRIBE_URL", "self", "loop", "range", "true", "false", "none",
    "True", "False", "None", "and", "or", "not", "in", "is", "if", "else", "elif", "for", "set", "with", "raw",
})  # fmt: skip
"""What broadcasts fill in, and words of the template language."""


class Markup(StrEnum):
    """How an author wrote the HTML."""

    HTML = "html"
    MJML = "mjml"


class VariableType(StrEnum):
    """The types of the public API."""

    STRING = "string"
    NUMBER = "number"


Scalar = str | int | float
VersionNumber = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A declared variable. Without a ``fallback_value`` every mail has to give it."""

    key: Annotated[str, Meta(description="ASCII letters, digits and `_`, no digit first; at most 50.")]
    type: VariableType
    fallback_value: Scalar | None = None


class TemplateBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/templates``. ``html`` and ``mjml``: one of the two; ``html`` that begins with ``<mjml`` is MJML."""

    name: Annotated[str, Meta(description="For people; 1 to 200 characters.")]
    alias: Annotated[str | None, Meta(description="A name to send by: letters, digits, `.`, `_`, `-`.")] = None
    from_: str | None = msgspec.field(name="from", default=None)
    subject: str | None = None
    reply_to: Addresses | None = None
    html: str | None = None
    text: str | None = None
    variables: list[Variable] | None = None
    mjml: Annotated[str | None, Meta(description="Ours: MJML, compiled to `html`.")] = None
    inline_css: Annotated[bool | None, Meta(description="Ours: write the rules of `<style>` into the elements.")] = None


class TemplateChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/templates/{id}``: what is absent stays, null takes it away."""

    name: str | UnsetType = UNSET
    alias: str | UnsetType | None = UNSET
    from_: str | UnsetType | None = msgspec.field(name="from", default=UNSET)
    subject: str | UnsetType | None = UNSET
    reply_to: Addresses | UnsetType | None = UNSET
    html: str | UnsetType = UNSET
    text: str | UnsetType | None = UNSET
    variables: list[Variable] | UnsetType | None = UNSET
    mjml: str | UnsetType = UNSET
    inline_css: bool | UnsetType = UNSET


class PublishBody(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /v1/templates/{id}/publish``. SDKs send an empty object."""

    version: Annotated[VersionNumber | None, Meta(description="Ours: an older version to go back to.")] = None


class PreviewBody(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /v1/templates/{id}/preview`` (ours)."""

    variables: Variables | None = None
    version: Annotated[VersionNumber | None, Meta(description="The newest when absent.")] = None


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What an author wrote, checked. ``sender`` and ``reply_to`` are as a mail would have them."""

    name: str
    alias: str | None
    sender: str | None
    subject: str | None
    reply_to: tuple[str, ...]
    source: str
    markup: Markup
    inline_css: bool
    text: str | None
    variables: tuple[Variable, ...]


class Compiled(msgspec.Struct, frozen=True):
    """What an author wrote, the HTML of it, and the names that a mail has to give."""

    written: Written
    html: str
    required: frozenset[str]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a template: what was written, and what it was compiled to.

    ``required`` are the names that a mail has to give: what stands in an output and has no fallback, and what was
    declared without one.
    """

    template: UUID
    number: int
    id: UUID
    written: Written
    html: str
    required: frozenset[str]
    created_at: datetime
    published_at: datetime | None


def check_new(body: TemplateBody) -> Written:
    """A new template.

    Raises:
        Refusal: 422 naming the field.
    """
    source, markup = _source(body.html, body.mjml)
    return _checked(
        Written(
            name=body.name,
            alias=body.alias,
            sender=body.from_,
            subject=body.subject,
            reply_to=tuple(listed(body.reply_to)),
            source=source,
            markup=markup,
            inline_css=bool(body.inline_css),
            text=body.text or None,
            variables=tuple(body.variables or ()),
        )
    )


def check_change(before: Written, body: TemplateChange) -> Written:
    """A template as a change makes it.

    Raises:
        Refusal: 422 naming the field.
    """

    def kept(value: Any, other: Any) -> Any:
        return other if value is UNSET else value

    source, markup = before.source, before.markup
    if body.html is not UNSET or body.mjml is not UNSET:
        source, markup = _source(*(None if value is UNSET else value for value in (body.html, body.mjml)))
    return _checked(
        Written(
            name=kept(body.name, before.name),
            alias=kept(body.alias, before.alias),
            sender=kept(body.from_, before.sender),
            subject=kept(body.subject, before.subject),
            reply_to=before.reply_to if body.reply_to is UNSET else tuple(listed(body.reply_to)),
            source=source,
            markup=markup,
            inline_css=kept(body.inline_css, before.inline_css),
            text=kept(body.text, before.text) or None,
            variables=tuple(kept(body.variables, before.variables) or ()),
        )
    )


def is_reference(text: str) -> bool:
    """Whether a text may be the id or the alias of a template."""
    return (_UUID.fullmatch(text) or _ALIAS.fullmatch(text)) is not None


def names_needed(written: Written, html: str) -> frozenset[str]:
    """The names that a mail has to give; compiles the texts, which may take a tenth of a second for each.

    Raises:
        Refusal: 422, a text is no template; the line is that of the author's own text.
    """
    names: frozenset[str] = frozenset()
    field = str(written.markup)
    for where, source in (("subject", written.subject), (field, written.source), (field, html), ("text", written.text)):
        try:
            names |= required_variables(source or "")
        except TemplateProblem as error:
            raise invalid(f"Invalid `{where}` field: the template cannot be read: {error}.") from error
    fallbacks = {variable.key for variable in written.variables if variable.fallback_value is not None}
    declared = {variable.key for variable in written.variables} - fallbacks
    return names - fallbacks | declared


def line_of(name: str, texts: Mapping[str, str | None]) -> str:
    """Where a name stands first, in words: `` (line 3 of `html`)``; empty when nowhere."""
    first = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    for field, text in texts.items():
        for tag in re.finditer(r"\{\{.*?\}\}|\{%.*?%\}", text or "", re.DOTALL):
            if found := first.search(tag[0]):
                line = (text or "").count("\n", 0, tag.start() + found.start()) + 1
                return f" (line {line} of `{field}`)"
    return ""


def _source(html: str | None, mjml: str | None) -> tuple[str, Markup]:
    if html and mjml:
        raise invalid("`html` and `mjml` cannot be given together: MJML is compiled to `html`.")
    if mjml:
        return mjml, Markup.MJML
    if not html:
        raise missing("Missing `html` field: a template has `html`, or `mjml`.")
    return html, Markup.MJML if re.match(r"\s*<mjml\b", html) else Markup.HTML


def _checked(written: Written) -> Written:
    if not 0 < len(written.name.strip()) <= MAX_NAME:
        raise invalid(f"Invalid `name` field: 1 to {MAX_NAME} characters.")
    check_value(written.name, "name")
    if written.alias is not None and (not _ALIAS.fullmatch(written.alias) or _UUID.fullmatch(written.alias)):
        raise invalid(
            "Invalid `alias` field: 1 to 100 ASCII letters, digits, `.`, `_` and `-`, a letter or digit at both ends, "
            "and no UUID."
        )
    check_bodies(written.source, written.text)
    boxes = check_mailboxes(written.reply_to, "reply_to")
    if len(boxes) > MAX_RECIPIENTS:
        raise invalid(f"Invalid `reply_to` field: more than {MAX_RECIPIENTS} addresses.")
    _check_variables(written.variables)
    return msgspec.structs.replace(
        written,
        sender=check_mailbox(written.sender, "from").text() if written.sender else None,
        subject=check_value(written.subject, "subject") if written.subject else None,
        reply_to=tuple(box.text() for box in boxes),
    )


def _check_variables(variables: Sequence[Variable]) -> None:
    if len(variables) > MAX_VARIABLES:
        raise invalid(f"Invalid `variables` field: more than {MAX_VARIABLES} variables.")
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        field = f"variables[{index}]"
        if not _KEY.fullmatch(variable.key):
            raise invalid(
                f"Invalid `{field}.key` field: 1 to {MAX_VARIABLE_KEY} ASCII letters, digits and `_`, no digit first."
            )
        if variable.key in _RESERVED:
            raise invalid(f"Invalid `{field}.key` field: `{variable.key}` is reserved.")
        if variable.key in seen:
            raise invalid(f"Invalid `{field}.key` field: `{variable.key}` is declared twice.")
        seen.add(variable.key)
        if variable.fallback_value is not None:
            check_type(variable, variable.fallback_value, f"{field}.fallback_value")
        if isinstance(variable.fallback_value, str) and "\x00" in variable.fallback_value:
            raise invalid(f"Invalid `{field}.fallback_value` field: it contains a NUL character.")
    if len(msgspec.json.encode([variable.fallback_value for variable in variables])) > MAX_FALLBACKS:
        raise invalid(f"Invalid `variables` field: the fallback values are longer than {MAX_FALLBACKS} bytes together.")


def check_type(variable: Variable, value: object, field: str) -> None:
    """Raise for a value that is not of the variable's type."""
    if variable.type is VariableType.STRING:
        fits = isinstance(value, str)
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        raise invalid(f"Invalid `{field}` field: `{variable.key}` is declared as a {variable.type}.")
