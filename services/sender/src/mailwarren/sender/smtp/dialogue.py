"""One mail transaction as a state machine without I/O (RFC 5321 §3.3, pipelined as in RFC 2920).

The connection feeds it replies and does what each ``Step`` says; the outcome is there once the step is ``DONE`` or
``DROP``. With PIPELINING the envelope goes out as one group ``MAIL, RCPT, DATA``, without it command by command.
"""

import re
from enum import Enum, IntEnum, auto

from mailwarren.contracts.reply import Command, Reply
from mailwarren.sender.smtp.capabilities import Capabilities
from mailwarren.sender.smtp.envelope import END_OF_DATA, Envelope, WireData
from mailwarren.sender.smtp.replies import RawReply, to_reply
from mailwarren.sender.smtp.result import Refused

SERVICE_CLOSING = 421
"""The server ends the connection after this reply, to whatever command (RFC 5321 §3.8)."""

_BAD_SEQUENCE = 503
_NOT_ACCEPTING = "4.3.2"
_TOO_MANY = re.compile(r"[45]\.5\.3")
_OF_THIS_SESSION = re.compile(r"\b(this|one|per|each|the same) (smtp )?(session|connection)\b", re.IGNORECASE)

_INTERMEDIATE = 300
_REFUSED = 400
_RSET = b"RSET\r\n"
_DATA = b"DATA\r\n"


class Step(Enum):
    """What the connection does next, unless it is given octets to write."""

    WAIT = auto()
    """For the next reply of the group."""
    SEND_DATA = auto()
    """The server waits for the message."""
    DONE = auto()
    """Decided; the connection may carry another transaction."""
    DROP = auto()
    """Decided, and the connection must be closed."""


class Stage(IntEnum):
    """What a transaction waits for the reply to; the number is its place in ``Timeouts.stages``."""

    RSET = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    LONE_DOT = 4
    DOT = 5


_COMMANDS = {
    Stage.RSET: Command.MAIL,
    Stage.MAIL: Command.MAIL,
    Stage.RCPT: Command.RCPT,
    Stage.DATA: Command.DATA,
    Stage.LONE_DOT: Command.DATA,
    Stage.DOT: Command.DOT,
}


def used_up(reply: Reply) -> bool:
    """Whether ``reply`` to MAIL says that a connection which carried mail before has had its share.

    421; 503, when the server still holds an envelope that we think is gone; a limit of messages per session, which is
    4.5.3 (no recipient has been named yet, so there cannot be too many), or a text that speaks of this session.
    """
    return reply.command is Command.MAIL and (
        reply.code in {SERVICE_CLOSING, _BAD_SEQUENCE}
        or _TOO_MANY.fullmatch(reply.enhanced or "") is not None
        or (reply.transient and _OF_THIS_SESSION.search(reply.text) is not None)
    )


def shuts_out(reply: Reply) -> bool:
    """Whether by ``reply`` the server accepts no mail on this connection, though it leaves it open.

    4.3.2 (RFC 3463 §3.4). Postfix's postscreen gives it to all recipients of a client that it has just tested, who is
    let in when it comes back on another connection.
    """
    return reply.enhanced == _NOT_ACCEPTING


def check_sendable(
    capabilities: Capabilities, envelope: Envelope, size: int, *, utf8_fields: bool = False
) -> Refused | None:
    """Say why this server cannot be sent this mail of ``size`` octets at all, or None.

    With ``utf8_fields`` the mail's header needs SMTPUTF8, whatever its envelope is. Nothing is written otherwise to
    suit a server: there is no other form of such an address (RFC 6531 §3.5 has the codes).
    """
    if envelope.utf8 and not capabilities.utf8:
        return Refused("5.6.7", "The address needs SMTPUTF8 (RFC 6531), which the server does not offer")
    if utf8_fields and not capabilities.utf8:
        return Refused(
            "5.6.9", "An address in the mail's header needs SMTPUTF8 (RFC 6531), which the server does not offer"
        )
    if 0 < capabilities.size_limit < size:
        return Refused("5.3.4", f"The message has {size} octets, the server takes {capabilities.size_limit}")
    return None


def mail_parameters(
    capabilities: Capabilities, envelope: Envelope, data: WireData, *, utf8_fields: bool = False
) -> bytes:
    """The ESMTP parameters of MAIL FROM for ``data`` in wire form: only what is offered and needed.

    Data with octets above 127 goes out as it is where 8BITMIME is missing, as all the large MTAs do: it cannot be
    recoded without breaking its signature.
    """
    parameters = b" SIZE=%d" % message_size(data) if capabilities.size else b""
    if capabilities.eight_bit and not data.isascii():
        parameters += b" BODY=8BITMIME"
    if envelope.utf8 or utf8_fields:
        parameters += b" SMTPUTF8"
    return parameters


def message_size(data: WireData) -> int:
    """Octets of the message in ``data``, its end of data not counted (RFC 1870 §5)."""
    return len(data) - len(END_OF_DATA)


class Transaction:
    """The commands of one envelope and the replies to them.

    Args:
        envelope: Who from and for.
        parameters: Of MAIL FROM, from ``mail_parameters``.
        pipelined: Write the envelope as one group.
        chunked: The message goes out by BDAT, without a reply to wait for in between (RFC 3030).
        reset: Begin with RSET: the last transaction of this connection was refused, or has not been answered yet.

    Attributes:
        decided: The server's answer for this recipient, None while there is none. In a group it may be there before
            the last reply.
        stage: What it waits for.
        nonsense: What the server did wrong, when that is why the transaction ended.
        unfinished: True when the server may still hold the envelope, so that the next transaction must begin with RSET.
            A refused final dot counts as such.
    """

    __slots__ = (
        "_chunked",
        "_envelope",
        "_group",
        "_parameters",
        "_recipient_taken",
        "decided",
        "nonsense",
        "stage",
        "unfinished",
    )

    def __init__(
        self, envelope: Envelope, parameters: bytes, *, pipelined: bool, reset: bool, chunked: bool = False
    ) -> None:
        self.decided: Reply | None = None
        self.nonsense: str | None = None
        self.unfinished = False
        self._envelope = envelope
        self._parameters = parameters
        self._group = pipelined
        self._chunked = chunked
        self.stage = Stage.RSET if reset else Stage.MAIL
        self._recipient_taken = False

    @property
    def command(self) -> Command:
        """The command whose reply is awaited."""
        return _COMMANDS[self.stage]

    def start(self) -> bytes:
        """Return what is written first."""
        if not self._group:
            return _RSET if self.stage is Stage.RSET else self._mail()
        group = b"MAIL FROM:<%b>%b\r\nRCPT TO:<%b>\r\n%b" % (
            self._envelope.reverse_path,
            self._parameters,
            self._envelope.forward_path,
            b"" if self._chunked else _DATA,
        )
        return _RSET + group if self.stage is Stage.RSET else group

    def advance(self, raw: RawReply) -> Step | bytes:
        """Take one reply and return the next step, or the octets to write before waiting for the next reply."""
        code = raw.code
        stage = self.stage
        if code == SERVICE_CLOSING:
            # No more replies of the group will come.
            self._decide(raw)
            return Step.DROP
        if stage is Stage.DATA:
            return self._data_answered(raw)
        if stage is Stage.LONE_DOT:
            return Step.DONE
        if _INTERMEDIATE <= code < _REFUSED:
            return self._drop("an intermediate reply where none belongs")
        if stage is Stage.DOT:
            # RFC 5321 §4.1.1.4 ends the transaction here whatever the reply. Postfix keeps the envelope of a message
            # that its restrictions refused, and would answer 503 to every MAIL after it.
            self.unfinished = code >= _REFUSED
            self._decide(raw)
            return Step.DONE
        return self._envelope_answered(stage, raw)

    def _envelope_answered(self, stage: Stage, raw: RawReply) -> Step | bytes:
        """RSET, MAIL and RCPT: in a group the next reply is for the next command, whatever this one says."""
        taken = raw.code < _INTERMEDIATE
        if stage is Stage.RSET:
            if not taken:
                return self._drop("RSET refused")
            self.stage = Stage.MAIL
            return Step.WAIT if self._group else self._mail()
        if not taken:
            self._decide(raw)
        if stage is Stage.MAIL:
            self.unfinished = taken
            following, line = Stage.RCPT, b"RCPT TO:<%b>\r\n" % self._envelope.forward_path
        elif self._chunked:
            return self._recipient_answered()
        else:
            self._recipient_taken = taken
            # Also where MAIL was refused: some servers take it all the same, and may keep it for the next envelope.
            self.unfinished = self.unfinished or taken
            following, line = Stage.DATA, _DATA
        if self._group:
            self.stage = following
            return Step.WAIT
        if not taken:
            return Step.DONE
        self.stage = following
        return line

    def _recipient_answered(self) -> Step:
        """The envelope is complete, and the message follows without a command that asks for it."""
        if self.decided is not None:
            return Step.DONE
        self.stage = Stage.DOT
        self.unfinished = False
        return Step.SEND_DATA

    def _data_answered(self, raw: RawReply) -> Step | bytes:
        if raw.code < _INTERMEDIATE:
            return self._drop("a positive reply to DATA before the message")
        if raw.code >= _REFUSED:
            self._decide(raw)
            return Step.DONE
        if self.decided is None:
            self.stage = Stage.DOT
            self.unfinished = False
            return Step.SEND_DATA
        if self._recipient_taken:
            # MAIL refused, RCPT and DATA taken: a lone dot might deliver an empty mail.
            return Step.DROP
        self.stage = Stage.LONE_DOT
        return END_OF_DATA

    def _mail(self) -> bytes:
        return b"MAIL FROM:<%b>%b\r\n" % (self._envelope.reverse_path, self._parameters)

    def _decide(self, raw: RawReply) -> None:
        """The first refusal of a group is the one that counts; the rest follow from it."""
        if self.decided is None:
            self.decided = to_reply(raw, self.command)

    def _drop(self, nonsense: str) -> Step:
        if self.decided is None:
            self.nonsense = nonsense
        return Step.DROP
