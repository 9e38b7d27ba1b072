"""A conversation with a dialogue over a wire that only writes down what it is asked."""

from collections.abc import Callable, Sequence

import pytest

from mailwarren.sink.dialogue import Dialogue
from mailwarren.sink.persona import Tls
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.records import Record
from mailwarren.sink.script import ScriptSource
from mailwarren.sink.store import Stats, Store, Ticket
from mailwarren.sink.visit import Host

HOST = Host("127.0.0.1:2525", "127.0.0.1", 2525)


class RecordingWire:
    """A wire to a client that takes every reply at once."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.held: list[float] = []
        self.waiting = False
        self.ended: list[str] = []

    def send(self, data: bytes, answers: Sequence[Ticket]) -> None:
        assert self.ended in ([], ["tls"]), "spoken after the end"
        self.sent += data
        self.writes.append(data)
        for ticket in answers:
            self._receiver.store.answer(ticket, self._receiver.clock())

    def hold(self, seconds: float) -> None:
        assert not self.waiting
        self.waiting = True
        self.held.append(seconds)

    def start_tls(self, kind: Tls) -> None:
        self.ended.append("tls")

    def close(self, *, unread: bool) -> None:
        self.ended.append("hang up" if unread else "close")

    def cut(self, *, reset: bool) -> None:
        self.ended.append("reset" if reset else "cut")


class Conversation:
    """One connection, spoken to in octets; time stands at ``now`` until it is moved."""

    def __init__(
        self,
        script: ScriptSource,
        *,
        offers_tls: bool,
        credentials: tuple[bytes, bytes] | None,
        host: Host,
    ) -> None:
        self.now = 1000.0
        self.receiver = Receiver(
            store=Store(keep=100),
            script=script,
            hostname="sink.test",
            offers_tls=offers_tls,
            credentials=credentials,
            clock=lambda: self.now,
        )
        self.wire = RecordingWire(self.receiver)
        visit = self.receiver.welcome(host, client="192.0.2.7", port=4321)
        self.dialogue = Dialogue(self.receiver, self.wire, visit)
        self.dialogue.greet()
        self.settle()

    def say(self, *lines: str | bytes) -> list[str]:
        """Send lines in one write; returns the replies' lines."""
        octets = b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines)
        return self.feed(octets)

    def feed(self, octets: bytes) -> list[str]:
        before = len(self.wire.sent)
        self.dialogue.feed(octets)
        self.settle()
        return self.wire.sent[before:].decode().splitlines()

    def codes(self, *lines: str | bytes) -> list[int]:
        return [int(line[:3]) for line in self.say(*lines) if line[3:4] != "-"]

    def settle(self) -> None:
        while self.wire.waiting:
            self.resume()

    def resume(self) -> None:
        self.wire.waiting = False
        self.dialogue.resume()

    def mail(self, *recipients: str, content: bytes = b"Message-ID: <1@x>\r\n\r\nhi\r\n") -> list[int]:
        """A whole transaction in one write each; returns the codes of MAIL, RCPTs, DATA and, after 354, the dot."""
        codes = self.codes("MAIL FROM:<a@x.test>", *[f"RCPT TO:<{r}>" for r in recipients], "DATA")
        if codes and codes[-1] == 354:
            codes += [int(line[:3]) for line in self.feed(content + b".\r\n")]
        return codes

    @property
    def stats(self) -> Stats:
        return self.receiver.store.stats()

    @property
    def records(self) -> list[Record]:
        return list(self.receiver.store.records.select(0, 1_000_000))

    @property
    def raw(self) -> list[bytes]:
        """The raw mails, oldest first."""
        return [mail.raw for mail in self.receiver.store.mailbox.newest()][::-1]


@pytest.fixture
def converse() -> Callable[..., Conversation]:
    """Make a conversation, past EHLO unless told otherwise."""

    def make(
        script: ScriptSource | None = None,
        *,
        hello: bool = True,
        offers_tls: bool = False,
        credentials: tuple[bytes, bytes] | None = None,
        host: Host = HOST,
    ) -> Conversation:
        conversation = Conversation(script or {}, offers_tls=offers_tls, credentials=credentials, host=host)
        if hello:
            conversation.say("EHLO me.test")
        return conversation

    return make
