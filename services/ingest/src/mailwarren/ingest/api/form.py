"""A form with a file, split while it comes in: short fields by their names, and the octets of the file."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mailwarren.ingest.domain.refusal import invalid, malformed

MAX_FIELDS = 20
FILE = "file"


def boundary_of(content_type: str | None) -> bytes | None:
    """What the parts of a form are divided by; None when the body is no form.

    Raises:
        Refusal: 400: a form without a boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    if not (boundary := options.get(b"boundary")):
        raise malformed("The Content-Type header names no boundary: let your HTTP library set it.")
    return boundary


def charset_of(content_type: str | None) -> str | None:
    """The encoding that a media type names."""
    charset = parse_options_header(content_type)[1].get(b"charset")
    return charset.decode("latin-1") if charset else None


class Form:
    """Takes the octets of a form in any pieces.

    Args:
        boundary: see :func:`boundary_of`.
        most: octets of a field that is no file.

    Attributes:
        fields: what the fields say, by their names, as far as they have come.
        filename: of the file, once it has begun.
        charset: its encoding, if its part names one.
        ended: all of the form is there.
    """

    def __init__(self, boundary: bytes, most: int) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.charset: str | None = None
        self.ended = False
        self._most = most
        self._file: list[bytes] = []
        self._value = bytearray()
        self._name = ""
        self._header = bytearray()
        self._header_value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_begin": self._begin_header,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_data,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise malformed(f"The body is not a form: {error}.") from error

    def feed(self, data: bytes) -> list[bytes]:
        """The next piece; what it has of the file.

        Raises:
            Refusal: 400: no form; 422: fields that cannot be.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise malformed(f"The body is not a form: {error}.") from error
        found, self._file = self._file, []
        return found

    def _begin_part(self) -> None:
        self._headers = {}
        self._value = bytearray()

    def _begin_header(self) -> None:
        self._header, self._header_value = bytearray(), bytearray()

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._header_value)

    def _begin_data(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == FILE:
            if self.filename is not None:
                raise invalid("Invalid `file` field: a form has one file.")
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self.charset = charset_of(self._headers.get(b"content-type", b"").decode("latin-1"))
        elif self._name in self.fields:
            raise invalid(f"Invalid `{self._name[:80]}` field: it stands in the form twice.")
        elif len(self.fields) == MAX_FIELDS:
            raise invalid(f"A form has at most {MAX_FIELDS} fields.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._file.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > self._most:
            raise invalid(f"Invalid `{self._name[:80]}` field: it is longer than {self._most} bytes.")

    def _end_part(self) -> None:
        if self._name != FILE:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True
