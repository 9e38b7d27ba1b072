"""What a page's form says: urlencoded, or multipart as RFC 8058 §3.1 lets mail providers send it. Pure."""

import email
import email.policy
from urllib.parse import parse_qsl

MAX_FIELDS = 300
"""Of a form: a tenant has at most 100 topics."""

Fields = list[tuple[str, str]]


def read_form(content_type: str, body: bytes) -> Fields:
    """The fields in their order; none of a body that is no form."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    if kind in {"application/x-www-form-urlencoded", ""}:
        return _urlencoded(body)
    return []


def values_of(fields: Fields, name: str) -> list[str]:
    """All values of a field."""
    return [value for given, value in fields if given == name]


def value_of(fields: Fields, name: str) -> str | None:
    """The first value of a field."""
    return next((value for given, value in fields if given == name), None)


def _urlencoded(body: bytes) -> Fields:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return []


def _multipart(content_type: str, body: bytes) -> Fields:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    if not message.is_multipart():
        return []
    fields: Fields = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            fields.append((name, payload.decode("utf-8", "replace").strip()))
    return fields[:MAX_FIELDS]
