"""Mails are signed in threads, beside the event loop: OpenSSL and the hash of a large body run without its lock."""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from mailwarren.contracts.parcel import Content, Delivery, Parcel, Syntax
from mailwarren.contracts.shaping import MissingKeys
from mailwarren.sender.adapters.dkim_keys import DkimKeys, DomainKeys, KeyStats
from mailwarren.sender.adapters.metrics import record_signed
from mailwarren.sender.domain.dkim import Signed, hash_body, sign_mail
from mailwarren.sender.domain.mime import File, write_body_with_files
from mailwarren.sender.domain.render import fill, is_tracked, leave_link, write_body, write_head
from mailwarren.sender.signing.batches import Batches
from mailwarren.sender.smtp import WireData, assemble_data, end_lines, stuff_dots

BLANK_LINE = b"\r\n\r\n"


@dataclass(slots=True)
class Body:
    """The body of a mail, or of all mails of a parcel.

    Attributes:
        fields: Its header fields.
        parts: Its octets, in parts that each end with a line.
        wire: The same as they go over the wire.
        hash: Of ``parts``, once it is known.
    """

    fields: bytes
    parts: Sequence[bytes | memoryview]
    wire: Sequence[bytes | memoryview]
    hash: str = ""


class Signing:
    """Builds and signs the mails of one parcel.

    Args:
        keys: What they are signed with.
        batches: Where.
    """

    def __init__(self, keys: DomainKeys, batches: Batches) -> None:
        self._keys = keys
        self._batches = batches
        self._shared: Body | None = None
        self._shared_hash = ""

    async def make_data(self, parcel: Parcel, delivery: Delivery, files: Sequence[File]) -> tuple[WireData, str]:
        """The signed mail in wire form, and the signature that a later attempt uses again.

        Raises:
            TemplateProblem: the template fails with this delivery's variables.
            Unbuildable: a rendered header holds a line break, or an address a control character.
        """
        content, leave = parcel.content, leave_link(parcel, delivery)
        subject, html, text = fill(content, delivery, leave)
        # The links of a tracked mail are its own: so is its body, and the body's hash.
        shared = content.syntax is Syntax.LITERAL and not is_tracked(content)
        body = self._shared_body(content, files) if shared else make_body(html, text, files, delivery.id.hex)
        head = end_lines(write_head(content, delivery, parcel.accepted_at, subject, leave)) + body.fields
        begin = time.perf_counter()
        signed = await self._batches.run(partial(_sign, self._keys, head, body, delivery.signature))
        record_signed(signed.made, signed.reused, time.perf_counter() - begin)
        if shared:
            self._shared_hash = body.hash
        return assemble_data([stuff_dots(signed.fields + head) + b"\r\n", *body.wire]), signed.kept

    def _shared_body(self, content: Content, files: Sequence[File]) -> Body:
        """The body that all mails of the parcel have. Files are held no longer than a mail is under way."""
        if self._shared is not None:
            return self._shared
        body = make_body(content.html, content.text, files, _ident(content))
        body.hash = self._shared_hash
        if not files:
            self._shared = body
        return body


class Signer:
    """Signs for whoever has keys.

    Args:
        keys: The keys of all domains.
        threads: That sign at once.
    """

    def __init__(self, keys: DkimKeys, threads: int) -> None:
        self._keys = keys
        self._threads = ThreadPoolExecutor(threads, "dkim")
        self._batches = Batches(self._threads, threads)

    async def sign_for(self, tenant: UUID, domain: str) -> Signing:
        """What signs the mails of one parcel.

        Raises:
            KeysAway: there are no keys now.
        """
        return Signing(await self._keys.get(tenant, domain), self._batches)

    def stats(self) -> KeyStats:
        """Of the keys."""
        return self._keys.stats()

    def missing(self) -> tuple[MissingKeys, ...]:
        """The domains whose mail waits for keys."""
        return self._keys.missing()

    async def close(self) -> None:
        """Sign no more."""
        await self._keys.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def make_body(html: str | None, text: str | None, files: Sequence[File], ident: str) -> Body:
    """The body of a mail; ``ident`` as in :func:`~mailwarren.sender.domain.render.write_body`."""
    built = write_body_with_files(html, text, files, ident) if files else [write_body(html, text, ident)]
    fields, _, first = bytes(built[0]).partition(BLANK_LINE)
    parts = [part if isinstance(part, memoryview) else end_lines(part) for part in (first, *built[1:])]
    wire = [part if isinstance(part, memoryview) else stuff_dots(part) for part in parts]
    return Body(end_lines(fields), parts, wire)


def _ident(content: Content) -> str:
    """The same for all mails of a content, so that they share a body, and what no content can hold: its own hash."""
    return hashlib.sha256(f"{content.html}\0{content.text}".encode()).hexdigest()[:32]


def _sign(keys: DomainKeys, head: bytes, body: Body, kept: str | None) -> Signed:
    """In a thread. Two mails may both find that their body's hash is not known yet."""
    body.hash = body.hash or hash_body(body.parts)
    return sign_mail(head, body.hash, domain=keys.domain, keys=keys.keys, now=int(time.time()), kept=kept)
