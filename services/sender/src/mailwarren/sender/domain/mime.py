"""Mails with attachments: RFC 2045 and 2046, names of files in RFC 2231, inline files in RFC 2387 and 2392.

The files come in base64 already, so that all deliveries of a parcel share their octets: what is built for each of them
is the little around the files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from mailwarren.contracts.parcel import Attachment, Content, Delivery
from mailwarren.sender.domain.render import Unbuildable, fill, text_part, write_head

LONGEST_PIECE = 60
"""Characters of a file's name in one parameter; a longer name goes on in the next (RFC 2231 §3)."""

Part = list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class File:
    """An attachment with its octets in base64: lines of 76 characters that end in CRLF."""

    attachment: Attachment
    encoded: memoryview


def build_mail_with_files(
    content: Content, delivery: Delivery, accepted_at: float, files: Sequence[File], leave: str = ""
) -> Part:
    """The whole mail, in parts that each end with a line; the files' octets are not copied.

    Raises:
        TemplateProblem: the template fails with this delivery's variables.
        Unbuildable: a header would hold a line break.
    """
    subject, html, text = fill(content, delivery, leave)
    head = write_head(content, delivery, accepted_at, subject, leave)
    return _joined([head, *write_body_with_files(html, text, files, delivery.id.hex)])


def write_body_with_files(html: str | None, text: str | None, files: Sequence[File], ident: str) -> Part:
    """As :func:`~mailwarren.sender.domain.render.write_body`, in parts that each end with a line.

    ``multipart/mixed`` of the texts and the files; inline files stand beside the html that shows them. Without html
    there is nothing to show them, and they are files as the others.

    Raises:
        Unbuildable: a header would hold a line break.
    """
    inline = [file for file in files if html is not None and file.attachment.content_id is not None]
    others = [file for file in files if file not in inline]
    parts: list[Part] = []
    if text is not None or html is None:
        parts.append([text_part(b"plain", text or "")])
    if html is not None:
        rich: Part = [text_part(b"html", html)]
        if inline:
            rich = _multipart("related", f"=_r{ident}", [rich, *map(_file_part, inline)], ' type="text/html";')
        parts.append(rich)
    body = parts[0] if len(parts) == 1 else _multipart("alternative", f"=_{ident}", parts)
    if others:
        body = _multipart("mixed", f"=_m{ident}", [body, *map(_file_part, others)])
    return _joined(body)


def _multipart(subtype: str, boundary: str, parts: Sequence[Part], parameter: str = "") -> Part:
    built: Part = [f'Content-Type: multipart/{subtype};{parameter} boundary="{boundary}"\r\n\r\n'.encode()]
    for part in parts:
        built.append(f"--{boundary}\r\n".encode())
        built += part
        if isinstance(part[-1], bytes):
            # The line end before a boundary is part of it: a text keeps its own last one.
            built.append(b"\r\n")
    built.append(f"--{boundary}--\r\n".encode())
    return built


def _file_part(file: File) -> Part:
    return [_file_head(file.attachment), file.encoded]


@lru_cache(maxsize=256)
def _file_head(attachment: Attachment) -> bytes:
    values = (attachment.filename, attachment.content_type, attachment.content_id or "")
    if any(not value.isprintable() for value in values):
        raise Unbuildable("the name or the type of an attachment holds a control character")
    kind = "attachment" if attachment.content_id is None else "inline"
    lines = [
        f"Content-Type: {attachment.content_type};\r\n {_parameter('name', attachment.filename)}",
        "Content-Transfer-Encoding: base64",
        f"Content-Disposition: {kind};\r\n {_parameter('filename', attachment.filename)}",
    ]
    if attachment.content_id is not None:
        lines.append(f"Content-ID: <{attachment.content_id}>")
    return ("".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


def _parameter(name: str, value: str) -> str:
    """A parameter of a header field: quoted, or where that cannot be as RFC 2231 has it."""
    if value.isascii() and len(value) <= LONGEST_PIECE:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'
    pieces = [""]
    for character in value:
        coded = quote(character, safe="!#$&+-.^_`|~")
        if len(pieces[-1]) + len(coded) > LONGEST_PIECE:
            pieces.append("")
        pieces[-1] += coded
    if len(pieces) == 1:
        return f"{name}*=utf-8''{pieces[0]}"
    pieces[0] = f"utf-8''{pieces[0]}"
    return ";\r\n ".join(f"{name}*{number}*={piece}" for number, piece in enumerate(pieces))


def _joined(parts: Part) -> Part:
    """The same octets in as few parts as can be without copying a file."""
    joined: Part = []
    run: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            run.append(part)
        elif len(part):
            joined += [b"".join(run), part]
            run = []
    return [*joined, b"".join(run)] if run else joined
