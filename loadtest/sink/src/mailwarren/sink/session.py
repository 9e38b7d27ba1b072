"""The part of a dialogue that is about the connection: greeting, EHLO, STARTTLS, AUTH, QUIT, and how it says no."""

from collections.abc import Sequence

from mailwarren.sink import reply as replies
from mailwarren.sink.chunks import Chunks
from mailwarren.sink.intake import Intake
from mailwarren.sink.outbox import Outbox, Wire
from mailwarren.sink.persona import Stage, Tls
from mailwarren.sink.policy import Recipient
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.role import Verdict
from mailwarren.sink.sasl import Exchange
from mailwarren.sink.transaction import Transaction
from mailwarren.sink.visit import Visit


class Session:
    """What is known of one connection, that of ``visit``, and the commands that change it."""

    def __init__(self, receiver: Receiver, wire: Wire, visit: Visit) -> None:
        self._receiver = receiver
        self._store = receiver.store
        self._wire = wire
        self._visit = visit
        self._intake = Intake()
        self._outbox = Outbox(wire, receiver.store, visit)
        self._transaction: Transaction | None = None
        self._chunks: Chunks | None = None  # what of the mail has come by BDAT
        self._exchange: Exchange | None = None
        self._greeted = False
        self._extended = False  # greeted with EHLO
        self._refused = False  # 5yz at the greeting: nothing but QUIT (RFC 5321 §3.1)
        self._secure = False
        self._upgrading = False  # 220 to STARTTLS is on its way out
        self._may_send = receiver.credentials is None
        self._mail_refused = False  # the rest of a pipelined group fails through no fault of the client

    def greet(self) -> None:
        """The connection is open."""
        verdict = self._receiver.policy.connect(self._visit, self._receiver.clock())
        if verdict.goes_on:
            self._outbox.say(replies.greeting(self._hostname), verdict.delay)
        else:
            self._refused = True
            self._refuse(Stage.CONNECT, verdict)
        self._outbox.flush()

    def turn_away(self, reply: bytes) -> None:
        """The connection is open, but one too many."""
        self._refuse(Stage.CONNECT, Verdict(reply, replies.code_of(reply), close=True))

    def secured(self) -> None:
        """TLS is up: everything said before is forgotten (RFC 3207 §4.2)."""
        self._secure = True
        self._greeted = self._extended = False
        self._transaction = self._chunks = None

    # -- how it speaks

    @property
    def _hostname(self) -> str:
        return self._visit.host.name or self._receiver.hostname

    def _say(self, reply: bytes) -> None:
        self._outbox.say(reply, self._receiver.policy.wait(self._visit))

    def _misuse(self, reply: bytes) -> None:
        self._store.misuse(replies.code_of(reply))
        self._say(reply)

    def _refuse(self, stage: Stage, verdict: Verdict, recipients: Sequence[Recipient] = ()) -> None:
        """Say no, or reset the connection, before any data."""
        if verdict.reply is None:
            self._store.reset(stage)
            self._outbox.cut(verdict.delay, reset=True)
            return
        self._count_refusal(stage, verdict.code, recipients)
        self._outbox.say(verdict.reply, verdict.delay, close=verdict.close)

    def _count_refusal(self, stage: Stage, code: int, recipients: Sequence[Recipient] = ()) -> None:
        receiver, visit = self._receiver, self._visit
        domains = [recipient.domain for recipient in recipients]
        sites = (*visit.places, receiver.policy.site_of(recipients, visit))
        self._store.refuse(stage, code, domains, sites=sites, now=receiver.clock())

    def _allowed(self, stage: Stage) -> float | None:
        """The seconds before the reply to a command of the session; ``None``: the script refused it."""
        verdict = self._receiver.policy.command(stage, self._visit)
        if verdict.goes_on:
            return verdict.delay
        self._refuse(stage, verdict)
        return None

    # -- commands of a session

    def _hello(self, argument: bytes, *, extended: bool) -> None:
        if not argument:
            self._misuse(replies.SYNTAX)
            return
        delay = self._allowed(Stage.EHLO)
        if delay is None:
            return
        self._greeted, self._extended = True, extended
        self._transaction = self._chunks = None  # RFC 5321 §4.1.4: EHLO resets like RSET
        self._mail_refused = False
        receiver = self._receiver
        lines = [self._hostname]
        if extended:
            lines += receiver.extensions(self._visit)
            if self._offers_tls and not self._secure:
                lines.append("STARTTLS")
            if receiver.credentials and self._auth_is_safe:
                lines.append("AUTH PLAIN LOGIN")
        self._outbox.say(replies.reply(250, "\n".join(lines)), delay)

    @property
    def _offers_tls(self) -> bool:
        return self._receiver.tls_for(self._visit) is not Tls.NONE

    def _starttls(self, argument: bytes) -> None:
        if not self._offers_tls:
            self._misuse(replies.NOT_IMPLEMENTED)
        elif argument:
            self._misuse(replies.SYNTAX)
        elif self._secure or not self._extended:
            self._misuse(replies.NOT_NOW)
        elif (delay := self._allowed(Stage.STARTTLS)) is not None:
            self._upgrading = True
            self._outbox.say(replies.READY_FOR_TLS, delay)
            self._upgrade_when_said()

    def _upgrade_when_said(self) -> None:
        """Begin TLS, when the 220 to STARTTLS is out."""
        if self._upgrading and not self._outbox.holds and not self._outbox.ended:
            self._upgrading = False
            # What the client (or someone between) pipelined behind STARTTLS in the clear must not count.
            self._intake.clear()
            self._outbox.flush()
            self._wire.start_tls(self._receiver.tls_for(self._visit))

    @property
    def _auth_is_safe(self) -> bool:
        return self._secure or not self._offers_tls

    def _auth(self, argument: bytes) -> None:
        credentials = self._receiver.credentials
        if credentials is None:
            self._misuse(replies.NOT_IMPLEMENTED)
        elif not self._extended:
            self._misuse(replies.NO_GREETING)
        elif self._may_send or self._transaction:
            self._misuse(replies.NOT_NOW)
        elif not self._auth_is_safe:
            self._misuse(replies.TLS_FIRST)
        else:
            self._exchange = Exchange(*credentials)
            self._authenticate(self._exchange, self._exchange.begin(argument))

    def _authenticate(self, exchange: Exchange, reply: bytes) -> None:
        if exchange.done:
            self._may_send = exchange.succeeded
            self._exchange = None
        self._say(reply)

    def _rset(self, argument: bytes) -> None:
        if argument:
            self._misuse(replies.SYNTAX)
        elif (delay := self._allowed(Stage.RSET)) is not None:
            self._transaction = self._chunks = None
            self._mail_refused = False
            self._outbox.say(replies.FLUSHED, delay)

    def _quit(self, argument: bytes) -> None:
        if argument:
            self._misuse(replies.SYNTAX)
        elif (delay := self._allowed(Stage.QUIT)) is not None:
            self._outbox.say(replies.BYE, delay, close=True)
