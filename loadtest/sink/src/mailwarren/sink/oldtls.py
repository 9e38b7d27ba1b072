"""A server that has nothing newer than TLS 1.1, as far as a client gets with it that wants more."""

import ssl


class OldTls:
    """The server's end of one handshake. asyncio would drop the alert, with the connection, that says why it failed."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        """What is said to these octets, and whether that is the end: also for a client that would speak TLS 1.1."""
        self._incoming.write(data)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read(), False
        except ssl.SSLError:
            pass
        return self._outgoing.read(), True
