"""TLS contexts, built once per process: loading a trust store takes milliseconds, a context serves every connection.

Both speak TLS 1.2 and newer (RFC 8996, RFC 8461 §4.2).
"""

import ssl
from pathlib import Path

from mailwarren.sender.smtp.site import TlsMode


class TlsContexts:
    """The two contexts that a sender needs.

    Args:
        ca_file: PEM file of authorities to trust besides the system's.

    Raises:
        OSError: ``ca_file`` cannot be read (``ssl.SSLError`` when it holds no certificate).
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._verifying = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        if ca_file is not None:
            self._verifying.load_verify_locations(cafile=ca_file)
        # Between mail servers an unchecked certificate still beats plain text (RFC 7435).
        self._unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._unchecked.check_hostname = False
        self._unchecked.verify_mode = ssl.CERT_NONE
        # A certificate is for the names in its subjectAltName; the common name is a text (RFC 8461 §4.2, RFC 9525 §2).
        self._verifying.hostname_checks_common_name = False
        for context in (self._verifying, self._unchecked):
            context.minimum_version = ssl.TLSVersion.TLSv1_2

    @property
    def verifying(self) -> ssl.SSLContext:
        """The context that wants a valid certificate, as web servers have to show too."""
        return self._verifying

    def for_mode(self, mode: TlsMode) -> ssl.SSLContext:
        """Return the context for ``mode``; ``off`` has none.

        Raises:
            ValueError: ``mode`` is ``off``.
        """
        if mode is TlsMode.OFF:
            raise ValueError("no TLS context for a site without TLS")
        return self._verifying if mode is TlsMode.VERIFY else self._unchecked
