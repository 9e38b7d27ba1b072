"""One SMTP connection as a state machine: octets in, calls of a ``Wire`` out, no I/O (RFC 5321, RFC 2920).

Commands are answered strictly in their order. What arrives together is answered together: the replies to a pipelined
group leave in one write. A delayed reply holds everything behind it back.
"""

import re

from mailwarren.sink import reply as replies
from mailwarren.sink.address import parse_mail, parse_rcpt
from mailwarren.sink.chunks import Chunks, parse_bdat
from mailwarren.sink.intake import TOO_LONG, MailData
from mailwarren.sink.message import find_message_id, wire_faults
from mailwarren.sink.outbox import Wire
from mailwarren.sink.persona import Stage
from mailwarren.sink.policy import Recipient
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.role import Verdict
from mailwarren.sink.session import Session
from mailwarren.sink.store import Delivery
from mailwarren.sink.transaction import Transaction
from mailwarren.sink.visit import Visit

_COMMAND_LIMIT = 2048  # RFC 5321 §4.5.3.1.4 asks for 512 and more for each extension
_AUTH_LIMIT = 12_288  # RFC 4954 §4

_GROUP = re.compile(rb"MAIL ([^\r\n]*)\r\nRCPT ([^\r\n]*)\r\nDATA\r\n")
_GROUP_TAKEN = replies.SENDER_OK + replies.RECIPIENT_OK + replies.GO_AHEAD


class Dialogue(Session):
    """Speaks for ``receiver`` on one connection: that of ``visit``."""

    def __init__(self, receiver: Receiver, wire: Wire, visit: Visit) -> None:
        super().__init__(receiver, wire, visit)
        self._receiving: Transaction | None = None  # between DATA and the final dot

    @property
    def backlog(self) -> int:
        """Octets that have arrived and wait for a held reply."""
        return len(self._intake) if self._outbox.holds else 0

    def feed(self, data: bytes) -> None:
        """Octets have arrived."""
        if not self._outbox.ended:
            self._intake.feed(data)
            self._pump()

    def resume(self) -> None:
        """The time that ``Wire.hold`` was asked for is over."""
        self._outbox.release()
        self._upgrade_when_said()
        self._pump()

    def shut_down(self) -> None:
        """The sink stops: say so where the protocol allows it, and close."""
        if self._outbox.ended:
            return
        if not self._outbox.holds and not self._receiving:
            self._outbox.say(replies.SHUTTING_DOWN)
        self._outbox.end()

    def lost(self) -> None:
        """The connection is gone; called once, after the last other call."""
        if (self._receiving or self._chunks) and not self._outbox.holds and not self._outbox.ended:
            self._store.lose_in_data()
        self._outbox.lost()
        self._receiver.part(self._visit)

    # -- the flow of octets

    def _pump(self) -> None:
        outbox = self._outbox
        while not outbox.holds and not outbox.ended:
            receiving, chunks = self._receiving, self._chunks
            if chunks is not None and chunks.inside:
                going_on = self._take_chunk(chunks)
            else:
                going_on = self._take_command() if receiving is None else self._take_data(receiving)
            if not going_on:
                break
        outbox.flush()

    def _take_command(self) -> bool:
        return self._take_group() or self._take_line()

    def _take_group(self) -> bool:
        # A mail's three commands at once, for a third of what they cost one by one. Only where each would be taken
        # without delay: for all else there is one way, command by command. (Inside an AUTH exchange nobody may send.)
        policy = self._receiver.policy
        if self._transaction or not (self._extended and self._may_send and policy.takes_all):
            return False
        group = self._intake.match(_GROUP, _COMMAND_LIMIT)
        if group is None:
            return False
        sender = parse_mail(group[1].rstrip(), extended=True)
        if isinstance(sender, bytes) or sender.size > policy.script.size_limit:
            return False
        mailbox = parse_rcpt(group[2].rstrip(), utf8=sender.utf8)
        if isinstance(mailbox, bytes):
            return False
        self._intake.take(group)
        self._mail_refused = False
        self._receiving = Transaction(sender, policy, [Recipient(mailbox.address, mailbox.domain)])
        self._intake.begin_data()
        self._outbox.say(_GROUP_TAKEN)
        return True

    def _take_line(self) -> bool:
        line = self._intake.take_line(_AUTH_LIMIT if self._receiver.credentials else _COMMAND_LIMIT)
        if line is None:
            return False
        if line is TOO_LONG:
            self._exchange = None
            self._misuse(replies.LINE_TOO_LONG)
        elif self._exchange:
            self._authenticate(self._exchange, self._exchange.answer(line))
        else:
            verb, _, argument = line.partition(b" ")
            verb = verb.upper()
            if self._refused and verb != b"QUIT":
                self._misuse(replies.ONLY_QUIT)
            else:
                self._command(verb, argument.rstrip())
        return True

    def _command(self, verb: bytes, argument: bytes) -> None:
        match verb:
            case b"MAIL":
                self._mail(argument)
            case b"RCPT":
                self._rcpt(argument)
            case b"DATA":
                self._data(argument)
            case b"BDAT" if self._receiver.takes_chunks(self._visit):
                self._bdat(argument)
            case b"RSET":
                self._rset(argument)
            case b"EHLO" | b"HELO":
                self._hello(argument, extended=verb == b"EHLO")
            case b"STARTTLS":
                self._starttls(argument)
            case b"AUTH":
                self._auth(argument)
            case b"QUIT":
                self._quit(argument)
            case _:
                self._idle_command(verb, argument)

    def _idle_command(self, verb: bytes, argument: bytes) -> None:
        match verb:
            case b"NOOP":
                self._say(replies.OK)
            case b"VRFY" if argument:
                self._say(replies.CANNOT_VERIFY)
            case b"VRFY":
                self._misuse(replies.SYNTAX)
            case b"HELP":
                self._say(replies.HELP)
            case b"EXPN":
                self._misuse(replies.NOT_IMPLEMENTED)
            case _:
                self._misuse(replies.UNKNOWN_COMMAND)

    def _take_data(self, transaction: Transaction) -> bool:
        if not self._intake.has_data:
            return False
        if not transaction.interruption.goes_on:
            self._interrupt(transaction, transaction.interruption)
            return False
        data = self._intake.take_data(transaction.policy.size_limit(self._visit.host))
        if data is None:
            return False
        self._receiving = None
        self._dot(transaction, data)
        return True

    def _interrupt(self, transaction: Transaction, verdict: Verdict) -> None:
        if verdict.reply is None:
            self._store.drop_mid_data(transaction.recipients)
            if verdict.reset:
                self._store.reset(Stage.MID_DATA)
            self._outbox.cut(reset=verdict.reset)
            return
        self._receiving = None
        self._count_refusal(Stage.MID_DATA, verdict.code, transaction.recipients)
        self._outbox.say(verdict.reply, close=True, unread=True)

    def _dot(self, transaction: Transaction, data: MailData) -> None:
        message_id = find_message_id(data.content)
        verdict = transaction.policy.dot(message_id, transaction.recipients)
        if data.over:
            verdict = verdict._replace(reply=replies.TOO_BIG, code=552, cut=False, close=False, reset=False)
        visit = self._visit
        visit.mails += 1
        ticket = self._store.receive(
            Delivery(
                sender=transaction.sender,
                recipients=transaction.recipients,
                message_id=message_id,
                content=data.content,
                size=data.size,
                received_at=self._receiver.clock(),
                code=verdict.code or 250,
                connection=visit.connection,
                port=visit.port,
                faults=wire_faults(data.content, eight_bit=transaction.eight_bit),
                sites=(*visit.places, transaction.policy.site_of(transaction.recipients, visit)),
            )
        )
        if verdict.cut:
            if verdict.reset:
                self._store.reset(Stage.DOT)
            self._outbox.cut(verdict.delay, ticket=ticket, reset=verdict.reset)
        else:
            reply = verdict.reply or b"250 2.0.0 Ok: queued as %d\r\n" % ticket.mail
            self._outbox.say(reply, verdict.delay, ticket=ticket, close=verdict.close)

    # -- commands of a transaction

    def _mail(self, argument: bytes) -> None:
        if not self._greeted:
            self._misuse(replies.NO_GREETING)
        elif self._transaction:
            self._misuse(replies.NESTED_MAIL)
        elif not self._may_send:
            self._refuse_mail(replies.AUTH_REQUIRED)
        elif not self._secure and self._receiver.requires_tls(self._visit):
            self._refuse_mail(replies.TLS_REQUIRED)
        else:
            self._begin_transaction(argument)

    def _begin_transaction(self, argument: bytes) -> None:
        sender = parse_mail(argument, extended=self._extended)
        policy = self._receiver.policy
        if isinstance(sender, bytes):
            self._misuse(sender)
            return
        if sender.size > policy.size_limit(self._visit.host):
            self._refuse_mail(replies.TOO_BIG)
            return
        verdict = policy.mail(self._visit, sender.address, self._receiver.clock())
        self._mail_refused = not verdict.goes_on
        if verdict.goes_on:
            self._transaction = Transaction(sender, policy)
            self._outbox.say(replies.SENDER_OK, verdict.delay)
        else:
            self._refuse(Stage.MAIL, verdict)

    def _refuse_mail(self, reply: bytes) -> None:
        self._mail_refused = True
        self._count_refusal(Stage.MAIL, replies.code_of(reply))
        self._say(reply)

    def _rcpt(self, argument: bytes) -> None:
        transaction = self._transaction
        if transaction is None:
            self._need_mail()
            return
        mailbox = parse_rcpt(argument, utf8=transaction.utf8)
        if isinstance(mailbox, bytes):
            self._misuse(mailbox)
            return
        if transaction.is_full:
            code = replies.code_of(replies.TOO_MANY_RECIPIENTS)
            self._count_refusal(Stage.RCPT, code, [Recipient(mailbox.address, mailbox.domain)])
            self._say(replies.TOO_MANY_RECIPIENTS)
            return
        verdict, recipient = transaction.policy.rcpt(self._visit, transaction.sender, *mailbox, self._receiver.clock())
        if verdict.goes_on:
            transaction.recipients.append(recipient)
            self._outbox.say(replies.RECIPIENT_OK, verdict.delay)
        else:
            self._refuse(Stage.RCPT, verdict, [recipient])

    def _data(self, argument: bytes) -> None:
        transaction = self._transaction
        if transaction is None:
            self._need_mail()
        elif argument:
            self._misuse(replies.SYNTAX)
        elif self._chunks:
            self._misuse(replies.MIXED_DATA)
        elif not transaction.recipients:
            self._say(replies.NO_RECIPIENTS)
        else:
            verdict = transaction.policy.data(transaction.recipients)
            if verdict.goes_on:
                transaction.interruption = transaction.policy.mid_data(transaction.recipients)
                self._receiving, self._transaction = transaction, None
                self._intake.begin_data()
                self._outbox.say(replies.GO_AHEAD, verdict.delay)
            else:
                # The transaction stays open until RSET, as with the servers that take the RFC literally.
                self._refuse(Stage.DATA, verdict, transaction.recipients)

    def _bdat(self, argument: bytes) -> None:
        """A chunk follows, whatever is said about it."""
        found = parse_bdat(argument)
        if found is None:
            self._misuse(replies.SYNTAX)
            return
        transaction, refusal = self._transaction, None
        if transaction is None or not transaction.recipients:
            said = replies.NO_MAIL if transaction is None else replies.NO_RECIPIENTS
            refusal = Verdict(said, replies.code_of(said))
        elif self._chunks is None:
            verdict = transaction.policy.data(transaction.recipients)
            refusal = None if verdict.goes_on else verdict
            transaction.interruption = transaction.policy.mid_data(transaction.recipients)
        self._chunks = self._chunks or Chunks()
        self._chunks.begin(found[0], last=found[1], refusal=refusal)

    def _take_chunk(self, chunks: Chunks) -> bool:
        """Read on in a chunk; when all of it is there, answer."""
        transaction = self._transaction
        limit = self._receiver.policy.size_limit(self._visit.host)
        octets = self._intake.take_octets(chunks.left)
        if octets and transaction is not None and not transaction.interruption.goes_on:
            self._chunks = self._transaction = None
            self._interrupt(transaction, transaction.interruption)
            return False
        chunks.add(octets, limit)
        if chunks.left:
            return False
        chunks.inside = False
        if chunks.refusal is not None or transaction is None:
            self._chunks = None
            refusal = chunks.refusal or Verdict(replies.NO_MAIL, replies.code_of(replies.NO_MAIL))
            self._refuse(Stage.DATA, refusal, transaction.recipients if transaction is not None else ())
        elif chunks.last:
            self._chunks = self._transaction = None
            self._dot(transaction, chunks.data(limit))
        else:
            self._say(b"250 2.0.0 %d octets so far\r\n" % chunks.size)
        return True

    def _need_mail(self) -> None:
        if self._mail_refused:
            self._say(replies.NO_MAIL)
        else:
            self._misuse(replies.NO_MAIL)
