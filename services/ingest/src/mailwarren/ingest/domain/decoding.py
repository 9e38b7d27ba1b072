"""From bytes to the Structs of :mod:`.requests`, with msgspec's findings in words for the caller."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from mailwarren.ingest.domain.refusal import Refusal, invalid, malformed, missing
from mailwarren.ingest.domain.requests import BulkBody
from mailwarren.ingest.domain.rows import split_rows

T = TypeVar("T")

# msgspec's wording, pinned by tests: "... - at `$.to[1]`".
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")


def decode(body: bytes | msgspec.Raw, kind: type[T], *, where: str = "", what: str = "The request body") -> T:
    """``body`` as a ``kind``.

    Args:
        body: JSON.
        kind: a Struct, or a list of them.
        where: stands before the path in messages: ``recipients[7].``.
        what: a row, when ``body`` is one.

    Raises:
        Refusal: 400 when it is no JSON, 422 with the field's name otherwise.
    """
    wanted: Any = kind
    try:
        decoded: T = _decoder(wanted).decode(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error), where) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(f"{what} is not valid JSON: {_syntax(bytes(body), error)}") from error
    except RecursionError as error:
        raise malformed(f"{what} is nested too deeply.") from error
    return decoded


def decode_batch(body: bytes) -> Sequence[msgspec.Raw]:
    """The emails of a batch, each as it is: one that cannot be read does not stand in the way of the others.

    Raises:
        Refusal: as :func:`decode`.
    """
    try:
        return decode(body, list[msgspec.Raw])
    except Refusal:
        if (found := split_rows(body, None)) is None:
            raise
        return found[1]


def decode_bulk(body: bytes) -> BulkBody:
    """A bulk call with its rows as they are.

    Raises:
        Refusal: as :func:`decode`.
    """
    try:
        return decode(body, BulkBody)
    except Refusal as refusal:
        if refusal.status != HTTPStatus.BAD_REQUEST or (found := split_rows(body, "recipients")) is None:
            raise
        rest, rows = found
        return replace(decode(rest, BulkBody), recipients=list(rows))


def canonical(body: bytes) -> bytes:
    """The same JSON value with sorted keys and no spaces: what an Idempotency-Key's fingerprint is made of.

    A body with a row that cannot be read stands for itself.
    """
    try:
        return msgspec.json.encode(_decoder(object).decode(body), order="deterministic")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def canonical_with_files(body: bytes) -> bytes:
    """As :func:`canonical`, with the digests of the attachments' contents in their places.

    A body of forty megabytes would be copied several times otherwise.
    """
    fields = _decoder(dict[str, msgspec.Raw]).decode(body)
    files = _decoder(list[dict[str, msgspec.Raw]]).decode(fields.pop("attachments"))
    said = {name: _decoder(object).decode(value) for name, value in fields.items()}
    said["attachments"] = [
        {
            name: hashlib.sha256(value).hexdigest() if name == "content" else _decoder(object).decode(value)
            for name, value in file.items()
        }
        for file in files
    ]
    return msgspec.json.encode(said, order="deterministic")


@cache
def _decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _syntax(body: bytes, error: Exception) -> str:
    text = str(error)
    if b"\\ud" not in body.lower():
        return text
    if "surrogate" in text or "hex escape" in text:
        return f"it holds an unpaired surrogate (\\ud800 to \\udfff): {text}"
    return "it ends too early, or holds an unpaired surrogate (\\ud800 to \\udfff)" if "truncated" in text else text


def _explain(text: str, where: str) -> Refusal:
    match = _PATH.match(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    field = where + path.removeprefix(".") if path else where.rstrip(".")
    inside = f"{field}." if field else ""
    if found := _MISSING.search(what):
        return missing(f"Missing `{inside}{found[1]}` field.")
    if found := _UNKNOWN.search(what):
        return invalid(f"Unknown `{inside}{found[1]}` field: it has no meaning here. Remove it.")
    if what.startswith("Expected `array` of length <= 0"):
        return invalid(f"Invalid `{field}` field: expected `object`, got `array`.")
    if what.startswith(("Expected `null`", "Expected `array` of length 0")):
        return invalid(f"The `{field}` field is not supported yet. Remove it.")
    if not field:
        return invalid(f"Invalid request body: {_lower(what)}.")
    return invalid(f"Invalid `{field}` field: {_lower(what)}.")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
