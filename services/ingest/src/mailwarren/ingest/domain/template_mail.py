"""Mail that a template says the content of: the published version filled in, and the request's own fields over it.

What is sent is the template with the mail's variables, rendered by the sender as bulk mail is: a thousand mails share
one content in the ledger. Only the subject is rendered here as well, because a line break must not reach a header.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mailwarren.contracts.parcel import Syntax
from mailwarren.contracts.template import (
    MAX_WORK,
    TemplateProblem,
    missing_variables,
    render,
    uses_template_syntax,
)
from mailwarren.contracts.unsubscribe import VARIABLES
from mailwarren.ingest.domain.email import SendEmail
from mailwarren.ingest.domain.headers import check_value
from mailwarren.ingest.domain.refusal import invalid, missing
from mailwarren.ingest.domain.requests import BulkBody, EmailBody, Variables
from mailwarren.ingest.domain.templates import Version, check_type, line_of
from mailwarren.ingest.domain.validation import validate_email

Body = TypeVar("Body", EmailBody, BulkBody)

MAX_VARIABLES = 32 * 1024
"""Bytes of JSON, as in a row of a bulk call."""
MAX_DEPTH = 16
"""Nested lists and objects in variables: what we can decode, a sender must be able to decode inside a parcel."""
FIELD = "template.variables"
SAMPLE_LINKS = dict.fromkeys(VARIABLES, "https://example.com/unsubscribe")
"""What a preview shows where a mail has its reader's link."""

_LITERAL = {ord("\\"): "\\\\", ord('"'): '\\"', ord("{"): "\\x7b", ord("}"): "\\x7d"}


def template_email(body: EmailBody, version: Version, *, work: int = MAX_WORK) -> SendEmail:
    """An email of ``/emails`` or ``/emails/batch`` with a template.

    Args:
        body: the request.
        version: the published version of its template.
        work: units that rendering the subject may take.

    Raises:
        Refusal: 422 naming the field, or the variables that are missing.
    """
    variables = {} if body.template is None else given_variables(body.template.variables)
    filled = fill(version, variables, FIELD)
    email = validate_email(with_template(body, version), Syntax.TEMPLATE, filled)
    if body.subject is not None:
        # Of a single mail, what the request says is literal, with or without a template.
        content = msgspec.structs.replace(email.content, subject=literal(email.content.subject))
        return msgspec.structs.replace(email, content=content)
    check_subject(email.content.subject, filled, work, "template")
    return email


def with_template(body: Body, version: Version) -> Body:
    """The request with the template's content, and its defaults for what the request does not say.

    Raises:
        Refusal: 422, it has content of its own, or lacks what the template has no default for.
    """
    for field in ("html", "text"):
        if getattr(body, field):
            raise invalid(f"Invalid `{field}` field: with a `template` the content is the template's. Remove one.")
    written = version.written
    sender = written.sender if body.from_ is None else body.from_
    subject = written.subject if body.subject is None else body.subject
    for field, value in (("from", sender), ("subject", subject)):
        if value is None:
            raise missing(f"Missing `{field}` field: the template has no default for it.")
    return msgspec.structs.replace(
        body,
        from_=sender,
        subject=subject,
        reply_to=list(written.reply_to) if body.reply_to is None else body.reply_to,
        html=version.html,
        text=written.text,
    )


def given_variables(variables: Variables | None, field: str = FIELD, most: int = MAX_VARIABLES) -> dict[str, Any]:
    """The variables of a request, checked for what no mail can carry.

    Raises:
        Refusal: 422.
    """
    if not variables or isinstance(variables, list):
        return {}
    if len(msgspec.json.encode(variables)) > most:
        raise invalid(f"Invalid `{field}` field: it is larger than {most} bytes.")
    check_values(variables, field, MAX_DEPTH)
    return variables


def check_values(value: Any, field: str, depth: int) -> None:
    """Raise for a NUL, which no mail and no database can carry, and for what is nested too deeply."""
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid(f"Invalid `{field}` field: it contains a NUL character.")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise invalid(f"Invalid `{field}` field: it is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            check_values("".join(value), field, depth)
            value = value.values()
        for item in value:
            check_values(item, field, depth - 1)


def fill(version: Version, variables: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The variables of one mail, with fallbacks for the declared ones that are absent or null.

    Raises:
        Refusal: 422 naming what is missing and where it stands, or is not of the type it was declared with.
    """
    written = version.written
    filled = dict(variables)
    for variable in written.variables:
        value = variables.get(variable.key)
        if value is not None:
            check_type(variable, value, f"{field}.{variable.key}")
        elif variable.fallback_value is not None:
            filled[variable.key] = variable.fallback_value
        else:
            filled.pop(variable.key, None)
    if absent := missing_variables(version.required - VARIABLES, filled):
        texts = {"subject": written.subject, str(written.markup): written.source, "text": written.text}
        named = ", ".join(f"`{name}`{line_of(name, texts)}" for name in absent)
        raise missing(f"Missing variables in `{field}`: the template needs {named}.")
    return filled


def check_subject(subject: str, variables: Mapping[str, Any], work: int, field: str) -> None:
    """Refuse a subject that cannot be rendered, or not into a header.

    Raises:
        Refusal: 422.
    """
    if not uses_template_syntax(subject):
        return
    try:
        check_value(render(subject, variables, html=False, work=work), f"{field} (rendered subject)")
    except TemplateProblem as error:
        raise invalid(f"Invalid `{field}`: the subject cannot be rendered: {error}.") from error


def literal(text: str) -> str:
    """A template that renders to ``text``, whatever stands in it."""
    return '{{ "' + text.translate(_LITERAL) + '" }}' if uses_template_syntax(text) else text


class Preview(msgspec.Struct, frozen=True):
    """What a mail would say."""

    subject: str | None
    html: str
    text: str | None


def preview(version: Version, given: Variables | None) -> Preview:
    """A version rendered with some variables; may take thirty milliseconds, and compiling a tenth of a second.

    Raises:
        Refusal: 422 naming the variables that are missing and their lines, or what cannot be rendered.
    """
    variables = SAMPLE_LINKS | fill(version, given_variables(given, "variables"), "variables")
    written = version.written
    if written.subject is not None:
        check_subject(written.subject, variables, MAX_WORK, "subject")
    return Preview(
        _rendered("subject", written.subject, variables),
        _rendered("html", version.html, variables) or "",
        _rendered("text", written.text, variables),
    )


def _rendered(field: str, source: str | None, variables: Mapping[str, Any]) -> str | None:
    if source is None:
        return None
    try:
        return render(source, variables, html=field == "html")
    except TemplateProblem as error:
        raise invalid(f"The `{field}` of the template cannot be rendered: {error}.") from error
