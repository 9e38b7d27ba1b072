"""A file that comes in with a call, as octets: in a form, or as the body itself. Nothing of it is kept here."""

from collections.abc import AsyncIterator

from mailwarren.ingest.api.body import PATIENCE, ClientGone, length_of
from mailwarren.ingest.api.endpoint import Call
from mailwarren.ingest.api.form import Form, boundary_of, charset_of
from mailwarren.ingest.domain.imports.request import FIELDS, MAX_FIELD, check_filename, check_names
from mailwarren.ingest.domain.refusal import file_too_large, invalid, malformed, missing

RAW = ("text/csv", "text/plain", "text/tab-separated-values")


class Upload:
    """The file of a call, and the fields beside it.

    Args:
        call: with its body unread.
        limit: octets of the body.

    Attributes:
        charset: the encoding that the file's media type names, once the file has begun.
    """

    def __init__(self, call: Call, limit: int) -> None:
        if call.receive is None:
            raise TypeError("the endpoint reads its body elsewhere")
        self._receive = call.receive
        self._limit = limit
        self._declared = call.header("content-length")
        self._taken = 0
        self._over = False
        self._query = call.query
        check_names({name: value for name, value in self._query.items() if name != "filename"})
        content_type = call.header("content-type")
        boundary = boundary_of(content_type)
        self._form = None if boundary is None else Form(boundary, MAX_FIELD)
        self.charset = None if self._form else charset_of(content_type)
        if self._form is None and (content_type or "").partition(";")[0].strip().lower() not in RAW:
            raise invalid(
                "Send the file as multipart/form-data, in the field `file`, or as the body with"
                " `Content-Type: text/csv`."
            )

    @property
    def fields(self) -> dict[str, str]:
        """Those of the form and of the query, as far as they have come; the form's stand."""
        found = {name: value for name, value in self._query.items() if name in FIELDS}
        return found | (self._form.fields if self._form else {})

    @property
    def filename(self) -> str:
        """As the caller names it."""
        given = self._form.filename if self._form else self._query.get("filename", "")
        return check_filename(given or "")

    async def blocks(self) -> AsyncIterator[bytes]:
        """The file's octets as they come in.

        Raises:
            Refusal: 413, too long; 400 and 422 for a form that is none, or has no file.
            ClientGone: it went away.
        """
        if self._declared is not None and length_of(self._declared) > self._limit:
            raise file_too_large(self._limit)
        while not self._over:
            data = await self._next()
            if self._taken > self._limit:
                raise file_too_large(self._limit)
            if self._form is None:
                yield data
                continue
            for block in self._form.feed(data):
                self.charset = self._form.charset
                yield block
        if self._form is not None and not self._form.ended:
            raise malformed("The form ends too early.")
        if self._form is not None and self._form.filename is None:
            raise missing("Missing `file` field: the CSV file.")

    async def hear_out(self) -> bool:
        """Read the rest and throw it away: most clients look at the answer only after they have sent everything.

        Only when they have said how much that is, and it is not far beyond the limit: what has no end is not listened
        to.

        Returns:
            Whether it was read to its end.
        """
        declared = self._declared or ""
        if declared.isascii() and declared.isdigit() and int(declared) <= self._limit * PATIENCE:
            while not self._over:
                await self._next()
        return self._over

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._over = not message.get("more_body", False)
        data: bytes = message.get("body", b"")
        self._taken += len(data)
        return data
