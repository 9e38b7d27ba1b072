"""What a broadcast says: fixed when it is sent, and filled in for each contact as bulk mail is (ADR 0008).

A mail can say what is known of its contact: ``{{{contact.first_name|there}}}``, ``{{{contact.company}}}`` for a
declared property, and the older names ``{{{FIRST_NAME|there}}}``, ``{{{LAST_NAME}}}``, ``{{{EMAIL}}}``. What a contact
does not have is empty, or the fallback. A name that nothing is known under is refused when the broadcast is sent, and
not when a hundred thousand mails fail.
"""

import html as markup
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, Syntax
from mailwarren.contracts.template import (
    MAX_WORK,
    TemplateProblem,
    missing_variables,
    render,
    required_variables,
    uses_template_syntax,
)
from mailwarren.contracts.unsubscribe import VARIABLES as LINKS
from mailwarren.ingest.domain.broadcasts import MAX_GIVEN, Draft
from mailwarren.ingest.domain.contacts import Recipient as Contact
from mailwarren.ingest.domain.email import Recipient, SendEmail
from mailwarren.ingest.domain.list_mail import check_link
from mailwarren.ingest.domain.properties import Property, with_fallbacks
from mailwarren.ingest.domain.refusal import invalid, missing
from mailwarren.ingest.domain.template_mail import SAMPLE_LINKS, Preview, check_subject, fill, given_variables
from mailwarren.ingest.domain.templates import Version, line_of
from mailwarren.ingest.domain.validation import check_bodies, check_mailbox

FIELDS = ("id", "email", "first_name", "last_name")
"""Of ``contact``, beside the declared properties."""
OLDER = {"FIRST_NAME": "first_name", "LAST_NAME": "last_name", "EMAIL": "email"}
VARIABLES = "template.variables"

_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_WHOLE = re.compile(r"\bcontact\b(?!\.)")
_BREAK = re.compile(r"[\x00-\x1f\x7f]+")
_HIDDEN = "display:none;overflow:hidden;line-height:1px;max-height:0;max-width:0;opacity:0"
_BODY = re.compile(r"<body\b[^>]*>", re.IGNORECASE)


class BroadcastMail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes into ``broadcasts.mail``.

    ``keys`` are those of ``contact`` that the content names, ``older`` the older names; ``given`` is what all mails
    have in common. ``flat``: line breaks in values would reach the subject.
    """

    content: Content
    sender_domain: str
    keys: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    given: dict[str, Any] = {}
    flat: bool = False


_mail = msgspec.json.Decoder(BroadcastMail)


def nobody(declared: Sequence[Property]) -> Contact:
    """A contact of which nothing is known: every fallback shows."""
    return Contact(id=UUID(int=0), address="", first_name=None, last_name=None, properties=with_fallbacks({}, declared))


def read_mail(stored: bytes) -> BroadcastMail:
    """What stands in ``broadcasts.mail``."""
    return _mail.decode(stored)


def prepare(draft: Draft, version: Version | None, declared: Sequence[Property], *, links: bool) -> BroadcastMail:
    """What a broadcast says from now on, whatever becomes of its template; may take a tenth of a second for each text.

    Args:
        draft: what was written.
        version: the published version of its template.
        declared: the contact properties that there are.
        links: this installation makes links to unsubscribe.

    Raises:
        Refusal: 422 naming what is missing, unknown or not possible, and its line.
    """
    sender, subject, reply_to = draft.sender, draft.subject, draft.reply_to
    html, text = draft.html, draft.text
    if version is not None:
        written = version.written
        sender, subject, reply_to = sender or written.sender, subject or written.subject, reply_to or written.reply_to
        html, text = version.html, written.text
    if not sender:
        raise missing("Missing `from` field.")
    if not subject:
        raise missing("Missing `subject` field.")
    if not html and not text:
        raise missing("Missing `html` or `text` field: a broadcast needs at least one of them to be sent.")
    if html and draft.preview_text:
        html = _with_preview(html, draft.preview_text)
    check_bodies(html, text)
    texts = {"subject": subject, "html": html, "text": text}
    keys = (*FIELDS, *(item.key for item in declared))
    given = _given(draft, version, keys)
    said = _tags("\n".join(filter(None, texts.values())))
    if any(name in said for name in LINKS):
        check_link(listed=True, made=links)
    _check_names(texts, keys, given)
    used = keys if _WHOLE.search(said) else tuple(key for key in keys if f"contact.{key}" in said)
    box = check_mailbox(sender, "from")
    content = Content(
        sender=box.text(),
        subject=subject,
        html=html or None,
        text=text or None,
        reply_to=reply_to,
        syntax=Syntax.TEMPLATE,
    )
    mail = BroadcastMail(
        content=content,
        sender_domain=box.domain,
        keys=used,
        older=tuple(name for name in OLDER if name in said),
        given=given,
        flat=uses_template_syntax(subject),
    )
    check_subject(subject, SAMPLE_LINKS | variables_of(mail, nobody(declared)), MAX_WORK, "subject")
    return mail


def variables_of(mail: BroadcastMail, who: Contact) -> dict[str, Any]:
    """What fills the template for one contact."""
    known: dict[str, Any] = {
        "id": str(who.id), "email": who.address, "first_name": who.first_name, "last_name": who.last_name,
    }  # fmt: skip
    found = dict(mail.given)
    if mail.keys:
        contact: dict[str, Any] = {}
        found["contact"] = contact
        for key in mail.keys:
            value = known[key] if key in known else who.properties.get(key)
            contact[key] = "" if value is None else _flat(value) if mail.flat else value
    for name in mail.older:
        if value := known[OLDER[name]]:
            found[name] = value
        else:
            found.setdefault(name, "")
    return found


def email_to(
    mail: BroadcastMail, who: Contact, lane: Lane, topic: UUID | None, address: str | None = None
) -> SendEmail:
    """The email to one contact. All share the content object, which is what puts them into common parcels.

    Args:
        mail: what it says.
        who: the contact.
        lane: of the broadcast.
        topic: what it is about, if it has a topic.
        address: where it goes instead of to the contact: a test.
    """
    to = address or who.address
    recipient = Recipient(to, to, variables=variables_of(mail, who))
    return SendEmail(mail.content, mail.sender_domain, (recipient,), lane, topic=topic)


def preview(mail: BroadcastMail, who: Contact) -> Preview:
    """What the mail to a contact would say; may take thirty milliseconds, and compiling a tenth of a second.

    Raises:
        Refusal: 422, what cannot be rendered, and why.
    """
    variables, content = SAMPLE_LINKS | variables_of(mail, who), mail.content

    def rendered(field: str, source: str | None) -> str | None:
        try:
            return source and render(source, variables, html=field == "html")
        except TemplateProblem as error:
            raise invalid(f"The `{field}` cannot be rendered for this contact: {error}.") from error

    return Preview(
        rendered("subject", content.subject), rendered("html", content.html) or "", rendered("text", content.text)
    )


def _given(draft: Draft, version: Version | None, keys: Sequence[str]) -> dict[str, Any]:
    """What all mails have in common: the template's variables with their fallbacks."""
    if version is None or draft.template is None:
        return {}
    variables = given_variables(draft.template.variables, most=MAX_GIVEN)
    if "contact" in variables:
        raise invalid(f"Invalid `{VARIABLES}.contact` field: `contact` is the one that a mail goes to.")
    fallbacks = {one.key: one.fallback_value for one in version.written.variables if one.fallback_value is not None}
    # Filled in with a contact of which nothing is known: what is missing then, every mail would lack.
    fill(version, {"contact": dict.fromkeys(keys, ""), **dict.fromkeys(OLDER, ""), **fallbacks, **variables}, VARIABLES)
    return fallbacks | {key: value for key, value in variables.items() if value is not None}


def _check_names(texts: Mapping[str, str | None], keys: Sequence[str], given: Mapping[str, Any]) -> None:
    known = {"contact": dict.fromkeys(keys, ""), **dict.fromkeys((*OLDER, *LINKS), ""), **given}
    for field, source in texts.items():
        try:
            required = required_variables(source or "")
        except TemplateProblem as error:
            raise invalid(f"Invalid `{field}` field: the template cannot be read: {error}.") from error
        if absent := missing_variables(required, known):
            named = ", ".join(f"`{name}`{line_of(name, {field: source})}" for name in absent)
            raise missing(
                f"Unknown variables in `{field}`: {named}. A mail knows `contact.` with {', '.join(keys)}; other "
                "properties of contacts are declared first (POST /v1/contact-properties)."
            )


def _tags(text: str) -> str:
    return "\n".join(_TAG.findall(text))


def _with_preview(html: str, preview_text: str) -> str:
    """The HTML with a text that mail programs show beside the subject, and the mail itself does not."""
    # Merge tags of the preview text stay tags; the rest of it is text.
    parts = re.split(r"(\{\{.*?\}\}+)", preview_text)
    shown = "".join(part if number % 2 else markup.escape(part) for number, part in enumerate(parts))
    hidden = f'<div style="{_HIDDEN}">{shown}</div>'
    if body := _BODY.search(html):
        return html[: body.end()] + hidden + html[body.end() :]
    return hidden + html


def _flat(value: Any) -> Any:
    return _BREAK.sub(" ", value) if isinstance(value, str) else value
