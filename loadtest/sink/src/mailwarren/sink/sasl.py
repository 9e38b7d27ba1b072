"""AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616), one exchange at a time."""

import binascii
from hmac import compare_digest

from mailwarren.sink import reply as replies

_MECHANISMS = {b"PLAIN", b"LOGIN"}
_EMPTY = b"="  # RFC 4954 §4: an initial response of zero length
_ASK_PLAIN = b"334 \r\n"
_ASK_USER = b"334 VXNlcm5hbWU6\r\n"
_ASK_PASSWORD = b"334 UGFzc3dvcmQ6\r\n"


class Exchange:
    """One AUTH command until it is decided: feed it lines until ``done``."""

    def __init__(self, user: bytes, password: bytes) -> None:
        self._expected = (user, password)
        self._mechanism = b""
        self._user: bytes | None = None
        self.done = False
        self.succeeded = False

    def begin(self, argument: bytes) -> bytes:
        """Answer ``AUTH mechanism [initial-response]``: the next challenge, or the end."""
        mechanism, _, initial = argument.partition(b" ")
        self._mechanism = mechanism.upper()
        if not mechanism:
            return self._end(replies.SYNTAX)
        if self._mechanism not in _MECHANISMS:
            return self._end(replies.UNKNOWN_MECHANISM)
        if initial:
            return self.answer(b"" if initial == _EMPTY else initial)
        return _ASK_PLAIN if self._mechanism == b"PLAIN" else _ASK_USER

    def answer(self, line: bytes) -> bytes:
        """Answer a response of the client (base64, or ``*`` to give up)."""
        if line == b"*":
            return self._end(replies.AUTH_CANCELED)
        try:
            value = binascii.a2b_base64(line, strict_mode=True)
        except binascii.Error:
            return self._end(replies.BAD_BASE64)
        if self._mechanism == b"PLAIN":
            parts = value.split(b"\0")
            if len(parts) != 3:  # noqa: PLR2004  authzid, authcid, password
                return self._end(replies.BAD_BASE64)
            return self._decide(parts[1], parts[2])
        if self._user is None:
            self._user = value
            return _ASK_PASSWORD
        return self._decide(self._user, value)

    def _decide(self, user: bytes, password: bytes) -> bytes:
        expected_user, expected_password = self._expected
        self.succeeded = compare_digest(user, expected_user) and compare_digest(password, expected_password)
        return self._end(replies.AUTHENTICATED if self.succeeded else replies.AUTH_FAILED)

    def _end(self, line: bytes) -> bytes:
        self.done = True
        return line
