"""The address of a smarthost as one line of configuration."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from mailwarren.sender.smtp.domains import ascii_domain
from mailwarren.sender.smtp.site import Auth, TlsMode

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_SHAPE = "an SMTP URL reads smtp://host[:port], smtp+starttls://[user:password@]host[:port] or smtps://…"
_ENCODE = "special characters in user and password must be percent-encoded"


@dataclass(frozen=True, slots=True)
class SmtpUrl:
    """Where a smarthost is and how to talk to it; ``repr`` does not show the password.

    Attributes:
        host: Name or IP address.
        port: TCP port.
        tls: How much TLS.
        implicit_tls: True for ``smtps``: TLS from the first octet.
        auth: Credentials, None without.
    """

    host: str
    port: int
    tls: TlsMode
    implicit_tls: bool = False
    auth: Auth | None = None


def parse_smtp_url(text: str) -> SmtpUrl:
    """Read an SMTP URL.

    ``smtp://host`` uses STARTTLS when offered (``?tls=off|opportunistic|required|verify``, port 25);
    ``smtp+starttls://user:password@host`` requires it with a valid certificate (``?verify=no``: any, port 587);
    ``smtps://…`` has TLS from the start (``?verify=no``, port 465). ``?auth=plaintext`` allows AUTH without TLS.

    Raises:
        ValueError: with what is wrong, never with the password.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Its message may quote the password.
        raise ValueError(f"{_SHAPE}; {_ENCODE}") from None
    if parts.scheme not in _PORTS or not host:
        raise ValueError(_SHAPE)
    if parts.path not in {"", "/"} or parts.fragment:
        raise ValueError(f"an SMTP URL has no path and no fragment; {_ENCODE}")
    if not _is_host(host):
        raise ValueError("the host of an SMTP URL is a host name or an IP address, [in brackets] for IPv6")
    if port == 0:
        raise ValueError("port 0 is no SMTP server's")
    options = _options(parts.query, parts.scheme)
    if parts.scheme == "smtp":
        tls = TlsMode(options.get("tls", TlsMode.OPPORTUNISTIC))
    else:
        tls = TlsMode.VERIFY if options.get("verify", "yes") == "yes" else TlsMode.REQUIRED
    auth = _auth(parts.username, parts.password, plaintext=options.get("auth") == "plaintext")
    return SmtpUrl(host, port or _PORTS[parts.scheme], tls, parts.scheme == "smtps", auth)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            ascii_domain(host)
        except ValueError:
            return False
    return True


def _options(query: str, scheme: str) -> dict[str, str]:
    allowed: dict[str, set[str]] = {"auth": {"plaintext"}}
    if scheme == "smtp":
        allowed["tls"] = {mode.value for mode in TlsMode}
    else:
        allowed["verify"] = {"yes", "no"}
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise ValueError(f"{scheme}:// knows the options {', '.join(sorted(allowed))}; {_ENCODE}")
        if value not in allowed[name]:
            raise ValueError(f"option {name} of an SMTP URL is one of {', '.join(sorted(allowed[name]))}")
        found[name] = value
    return found


def _auth(user: str | None, password: str | None, *, plaintext: bool) -> Auth | None:
    if not user and not password:
        return None
    if not user or not password:
        raise ValueError("an SMTP URL has user and password, or neither")
    return Auth(unquote(user, errors="strict"), unquote(password, errors="strict"), plaintext=plaintext)
