"""Replies as they go over the wire (RFC 5321 §4.2, enhanced codes RFC 2034)."""

from functools import lru_cache


# Remembered, because every connection begins with the same two.
@lru_cache(maxsize=256)
def reply(code: int, text: str, enhanced: str | None = None) -> bytes:
    """One reply, with a line for each line of ``text``: ``code[-]enhanced text CRLF``."""
    lines = text.split("\n")
    prefix = f"{enhanced} " if enhanced else ""
    last = len(lines) - 1
    return "".join(f"{code}{' ' if at == last else '-'}{prefix}{line}\r\n" for at, line in enumerate(lines)).encode(
        "ascii"
    )


def code_of(line: bytes) -> int:
    """The three digits that a reply begins with."""
    return int(line[:3])


def greeting(hostname: str) -> bytes:
    """The first line of a connection."""
    return reply(220, f"{hostname} ESMTP Mailwarren sink")


GO_AHEAD = reply(354, "End data with <CR><LF>.<CR><LF>")
READY_FOR_TLS = reply(220, "Ready to start TLS", "2.0.0")
BYE = reply(221, "Bye", "2.0.0")
SENDER_OK = reply(250, "Sender ok", "2.1.0")
RECIPIENT_OK = reply(250, "Recipient ok", "2.1.5")
FLUSHED = reply(250, "Flushed", "2.0.0")
OK = reply(250, "Ok", "2.0.0")
CANNOT_VERIFY = reply(252, "Send some mail, it will be taken", "2.0.0")
HELP = reply(214, "See RFC 5321", "2.0.0")
AUTHENTICATED = reply(235, "Authentication succeeded", "2.7.0")

SHUTTING_DOWN = reply(421, "Sink is stopping", "4.3.2")
TOO_MANY_CONNECTIONS = reply(421, "Too many connections", "4.7.0")
TOO_MANY_MAILS = reply(421, "Too many messages on this connection", "4.7.0")
GREYLISTED = reply(450, "Greylisted, try again later", "4.7.1")
TOO_FAST = reply(451, "Rate limit exceeded, try again later", "4.7.1")
TOO_MANY_RECIPIENTS = reply(452, "Too many recipients", "4.5.3")

UNKNOWN_COMMAND = reply(500, "Command not recognized", "5.5.2")
LINE_TOO_LONG = reply(500, "Line too long", "5.5.2")
SYNTAX = reply(501, "Syntax error in parameters", "5.5.4")
BAD_SENDER = reply(501, "Bad sender address syntax", "5.1.7")
BAD_RECIPIENT = reply(501, "Bad recipient address syntax", "5.1.3")
BAD_BASE64 = reply(501, "Cannot decode that", "5.5.2")
AUTH_CANCELED = reply(501, "Authentication canceled", "5.7.0")
NOT_IMPLEMENTED = reply(502, "Command not implemented", "5.5.1")
NO_GREETING = reply(503, "Say EHLO first", "5.5.1")
MIXED_DATA = reply(503, "BDAT and DATA do not mix", "5.5.1")
NESTED_MAIL = reply(503, "Sender already given", "5.5.1")
NO_MAIL = reply(503, "Need MAIL first", "5.5.1")
ONLY_QUIT = reply(503, "This server takes no mail", "5.5.1")
NOT_NOW = reply(503, "Not possible now", "5.5.1")
UNKNOWN_MECHANISM = reply(504, "Mechanism not supported", "5.5.4")
AUTH_REQUIRED = reply(530, "Authentication required", "5.7.0")
TLS_REQUIRED = reply(530, "Must issue a STARTTLS command first", "5.7.0")
AUTH_FAILED = reply(535, "Credentials refused", "5.7.8")
TLS_FIRST = reply(538, "Encryption required, say STARTTLS first", "5.7.11")
TOO_BIG = reply(552, "Message exceeds the size limit", "5.3.4")
NEEDS_SMTPUTF8 = reply(553, "Address needs SMTPUTF8", "5.6.7")
NO_RECIPIENTS = reply(554, "No valid recipients", "5.5.1")
UNKNOWN_PARAMETER = reply(555, "Parameter not recognized", "5.5.4")
