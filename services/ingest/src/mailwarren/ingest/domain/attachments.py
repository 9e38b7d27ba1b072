"""Attachments as the API takes them: what may be attached, under which name and type. Without I/O."""

import re
import unicodedata
from binascii import Error as BinasciiError
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec

from mailwarren.ingest.domain.refusal import Refusal, invalid, missing
from mailwarren.ingest.domain.requests import AttachmentBody

MAX_NAME = 255
"""Bytes of a file's name in UTF-8, as file systems have it."""
MAX_TYPE = 255
MAX_ID = 128
MAX_URL = 2048
ANYTHING = "application/octet-stream"
NAMELESS = "attachment"

BLOCKED = (
    "adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its js jse ksh lib lnk mad "
    "maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh msh1 msh2 mshxml msh1xml msh2xml msi msp "
    "mst ops pcd pif plg prf prg reg scf scr sct shb shs sys ps1 ps1xml ps2 ps2xml psc1 psc2 tmp url vb vbe vbs vps "
    "vsmacros vss vst vsw vxd ws wsc wsf wsh xnk"
)
"""Extensions that the public API refuses: what runs when it is opened."""

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 2045's word
_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:; ?{_TOKEN}=(?:{_TOKEN}|\"[ !#-\[\]-~]*\"))*")
_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]+")
# Without the system's own tables: the same name has the same type everywhere.
_types = MimeTypes(filenames=())


@dataclass(frozen=True, slots=True)
class Limits:
    """What an email may carry. ``octets`` counts the attachments together, in base64."""

    count: int = 20
    octets: int = 40 * 2**20
    blocked: frozenset[str] = field(default_factory=lambda: frozenset(BLOCKED.split()))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An attachment that was asked for, checked but for its octets: they are in ``content`` (JSON) or at ``url``.

    ``content_type`` is None when the answer of the ``url`` may say it.
    """

    place: str
    filename: str
    content_type: str | None
    content_id: str | None
    content: memoryview | None = None
    url: str | None = None


def check_attachments(bodies: Sequence[AttachmentBody], limits: Limits) -> list[Wanted]:
    """What is to be attached.

    Raises:
        Refusal: 422 naming the field.
    """
    if len(bodies) > limits.count:
        raise invalid(f"Too many attachments: {len(bodies)}, an email may have {limits.count}.")
    wanted = [_check(body, f"attachments[{index}]", limits) for index, body in enumerate(bodies)]
    seen: set[str] = set()
    for one in wanted:
        if one.content_id is not None and one.content_id in seen:
            raise invalid(f"Invalid `{one.place}.content_id` field: `{one.content_id}` is given twice.")
        seen.add(one.content_id or "")
    return wanted


def _check(body: AttachmentBody, place: str, limits: Limits) -> Wanted:
    given = memoryview(body.content)
    content = None if bytes(given[:4]) in {b"", b"null"} else given
    if (content is None) == (body.path is None):
        raise missing(f"Missing `{place}.content` or `{place}.path` field: give exactly one of them.")
    url = None if body.path is None else check_url(body.path, f"{place}.path")
    name = body.filename
    if name is None:
        if url is None:
            raise missing(f"Missing `{place}.filename` field: a file needs a name.")
        name = unquote(PurePosixPath(urlsplit(url).path).name) or NAMELESS
    filename = clean_filename(name, f"{place}.filename", limits)
    kind = None if body.content_type is None else check_type(body.content_type, f"{place}.content_type")
    named = body.content_id if body.content_id is not None else body.inline_content_id
    ident = None if named is None else _content_id(named, f"{place}.content_id")
    return Wanted(place, filename, kind, ident, content, url)


def clean_filename(name: str, place: str, limits: Limits) -> str:
    """The name that recipients see.

    It is the last part of a path, without control characters and those that turn the direction of writing, and
    without the dots and spaces at its end that hide an extension.

    Raises:
        Refusal: 422, nothing is left, it is too long, or its extension is refused.
    """
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    kept = "".join(" " if one == "\t" else one for one in last if one == "\t" or unicodedata.category(one)[0] != "C")
    kept = " ".join(kept.split()).rstrip(". ")
    if not kept:
        raise invalid(f"Invalid `{place}` field: it is no name of a file.")
    if len(kept.encode()) > MAX_NAME:
        raise invalid(f"Invalid `{place}` field: it is longer than {MAX_NAME} bytes.")
    extension = kept.rpartition(".")[2].lower() if "." in kept else ""
    if extension in limits.blocked:
        raise invalid(f"Invalid `{place}` field: files with the extension .{extension} may not be attached.")
    return kept


def check_type(content_type: str, place: str) -> str:
    """A MIME type, with its parameters.

    Raises:
        Refusal: 422, malformed, or one whose content may not be encoded (RFC 2045 §6.4).
    """
    if len(content_type) > MAX_TYPE or not _TYPE.fullmatch(content_type):
        raise invalid(f"Invalid `{place}` field: give it as `type/subtype`.")
    if content_type.lower().startswith(("multipart/", "message/")):
        raise invalid(f"Invalid `{place}` field: such a part cannot be attached in base64; use {ANYTHING}.")
    return content_type


def type_of(filename: str) -> str:
    """The type that a name's extension says; of a message, that of any file (see :func:`check_type`)."""
    found = _types.guess_type(filename)[0] or ANYTHING
    return ANYTHING if found.startswith(("multipart/", "message/")) else found


def told_type(header: str | None, filename: str) -> str:
    """The type of a fetched file: what its server says if that says anything, else by the name."""
    if header:
        try:
            found = check_type(header.strip(), "")
        except Refusal:
            return type_of(filename)
        if not found.lower().startswith(ANYTHING):
            return found
    return type_of(filename)


def check_url(url: str, place: str) -> str:
    """An address that may be fetched as far as its text says.

    Raises:
        Refusal: 422.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise invalid(f"Invalid `{place}` field: {error}.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise invalid(f"Invalid `{place}` field: give an address that starts with https:// or http://.")
    if parts.username is not None or parts.password is not None:
        raise invalid(f"Invalid `{place}` field: an address with a user name or a password is not fetched.")
    if len(url) > MAX_URL or not url.isprintable() or " " in url or port == 0:
        raise invalid(f"Invalid `{place}` field: it is no address of a file.")
    return url


def encoded_octets(size: int) -> int:
    """How many octets of base64 a file of ``size`` octets has."""
    return -(-size // 3) * 4


def too_many_octets(limits: Limits) -> Refusal:
    """422: the attachments are too large together."""
    return invalid(
        f"Invalid `attachments` field: they have more than {limits.octets} bytes together, counted in base64."
    )


def _content_id(value: str, place: str) -> str:
    ident = value.removeprefix("<").removesuffix(">")
    if len(ident) > MAX_ID or not _ID.fullmatch(ident):
        raise invalid(f"Invalid `{place}` field: 1 to {MAX_ID} printable ASCII characters without spaces and brackets.")
    return ident


class _Buffer(msgspec.Struct):
    """What JavaScript makes of a Buffer."""

    data: msgspec.Raw
    type: str = ""


BLOCK = 256 * 1024
"""Characters that are read at once: so few that other threads get their turns between them."""
_buffer = msgspec.json.Decoder(_Buffer)
_text = msgspec.json.Decoder(str)
_numbers = msgspec.json.Decoder(list[int])
NEITHER = "it is neither base64 nor a list of bytes"


def read_octets(content: memoryview) -> Iterator[bytes]:
    """The octets of a JSON value, block by block: base64, or a list of numbers as some SDKs write it.

    Raises:
        ValueError: it is neither.
    """
    first = bytes(content[:1])
    if first == b'"':
        return _read_base64(content)
    if first == b"{":
        try:
            content = memoryview(_buffer.decode(content).data)
        except msgspec.DecodeError as error:
            raise ValueError(NEITHER) from error
    return _read_numbers(content)


def _read_base64(content: memoryview) -> Iterator[bytes]:
    inner = content[1:-1]
    # PHP writes every slash as "\\/", and MIME breaks lines; both are rare enough for a copy.
    if any(b"\\" in block or b" " in block for block in _blocks(inner)):
        inner = memoryview("".join(_text.decode(content).split()).encode())
    read = 0
    for block in _blocks(inner):
        read += len(block)
        if b"=" in block and read < len(inner):
            raise ValueError("there is padding before its end")
        try:
            yield a2b_base64(block, strict_mode=True)
        except BinasciiError as error:
            raise ValueError("it is no valid base64") from error


def _read_numbers(content: memoryview) -> Iterator[bytes]:
    if bytes(content[:1]) != b"[" or bytes(content[-1:]) != b"]":
        raise ValueError(NEITHER)
    rest = b""
    for block in _blocks(content[1:-1]):
        whole, comma, tail = block.rpartition(b",")
        if comma:
            yield _octets(rest + whole)
            rest = tail
        else:
            rest += tail
    if rest.strip():
        yield _octets(rest)


def _octets(numbers: bytes) -> bytes:
    try:
        return bytes(_numbers.decode(b"[%b]" % numbers))
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(NEITHER) from error


def _blocks(content: memoryview) -> Iterator[bytes]:
    return (bytes(content[start : start + BLOCK]) for start in range(0, len(content), BLOCK))
