"""What Postfix, Exim, OpenSMTPD and Haraka were seen to do to us, replayed word for word."""

import ssl

import pytest

from mailwarren.sender.smtp import Command, Reply, SiteLimits, Timeouts, TlsMode, Unreachable, UnreachableKind

BOTH = pytest.mark.parametrize("extensions", [("PIPELINING",), ()], ids=["pipelined", "sequential"])


class KeepsTheEnvelope:
    """Postfix's ``smtpd_end_of_data_restrictions``: a message refused there leaves its envelope behind."""

    def __init__(self, *, heeds_rset: bool = True) -> None:
        self.held: set[int] = set()
        self.refused = 0
        rset = {"RSET": self.rset} if heeds_rset else {"RSET": "250 2.0.0 Ok"}
        self.answers = {"DOT": self.dot, "MAIL": self.mail, **rset}

    def dot(self, session):
        if self.refused:
            return "250 2.0.0 Ok: queued as 4AD8028E481"
        self.refused += 1
        self.held.add(session.number)
        return "550 5.7.1 <b@rcpt.example>: Recipient address rejected: not at end of data"

    def mail(self, session):
        return "503 5.5.1 Error: nested MAIL command" if session.number in self.held else "250 2.1.0 Ok"

    def rset(self, session):
        self.held.discard(session.number)
        return "250 2.0.0 Ok"


@BOTH
async def test_a_message_refused_after_its_dot_harms_no_later_one(server, send, extensions):
    target = await server(extensions=extensions, answers=KeepsTheEnvelope().answers)

    refused = await send(target)
    later = [await send(target) for _ in range(3)]

    assert refused.outcome.code == 550
    assert refused.outcome.command is Command.DOT
    assert [result.outcome.code for result in later] == [250, 250, 250]
    assert len(target.mails) == 3
    assert len(target.sessions) == 1
    assert target.commands.count("RSET") == 1


@BOTH
async def test_a_connection_that_has_lost_the_thread_is_replaced(server, send, pool, extensions, until):
    target = await server(extensions=extensions, answers=KeepsTheEnvelope(heeds_rset=False).answers)

    await send(target)
    later = [await send(target) for _ in range(3)]

    assert [result.outcome.code for result in later] == [250, 250, 250]
    assert len(target.mails) == 3
    assert pool.stats().retried_total == 1
    await until(lambda: target.open == 1)


def two_a_session(reply: str):
    """A server that answers ``reply`` to the third MAIL of a session and all after it."""
    counts: dict[int, int] = {}

    def mail(session):
        counts[session.number] = counts.get(session.number, 0) + 1
        return reply if counts[session.number] > 2 else "250 2.1.0 Ok"

    return mail


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        "452 4.5.3 Too many recipients: Too many messages sent",
        "452 Too many messages in this session",
        "421 too many messages in this connection",
    ],
    ids=["OpenSMTPD", "no enhanced code", "Exim"],
)
async def test_a_limit_of_mails_per_session_defers_nobody(server, send, pool, extensions, reply, until):
    target = await server(extensions=extensions, answers={"MAIL": two_a_session(reply)})

    results = [await send(target, limits=SiteLimits(connections=1)) for _ in range(6)]

    assert [result.outcome.code for result in results] == [250] * 6
    assert len(target.mails) == 6
    assert len(target.sessions) == 3
    assert pool.stats().retried_total == 2
    await until(lambda: target.open == 1)


async def test_a_limit_on_a_fresh_connection_is_the_answer(server, send):
    target = await server(answers={"MAIL": "452 4.5.3 Too many messages sent"})

    result = await send(target)

    assert result.outcome == Reply(452, "Too many messages sent", "4.5.3", Command.MAIL)
    assert len(target.sessions) == 1


async def test_a_limit_of_mails_per_client_costs_no_connection(server, send, pool):
    target = await server(answers={"MAIL": two_a_session("450 4.7.1 Error: too much mail from 127.0.0.1")})

    results = [await send(target) for _ in range(6)]

    assert [result.outcome.code for result in results] == [250, 250, 450, 450, 450, 450]
    assert len(target.sessions) == 1
    assert pool.stats().retried_total == 0


@BOTH
async def test_a_session_that_takes_no_mail_is_left(server, send, extensions, until):
    # Postfix's postscreen, to a client that has just passed its tests.
    target = await server(
        extensions=extensions,
        answers={
            "RCPT": lambda session: "450 4.3.2 Service currently unavailable" if session.number == 1 else "250 2.1.5 Ok"
        },
    )

    first = await send(target)
    later = [await send(target) for _ in range(3)]

    assert first.outcome == Reply(450, "Service currently unavailable", "4.3.2", Command.RCPT)
    assert [result.outcome.code for result in later] == [250, 250, 250]
    assert len(target.sessions) == 2
    await until(lambda: target.open == 1)


class TestTlsThatBreaksLate:
    """Exim with ``tls_verify_hosts``: under TLS 1.3 our side of the handshake is done when the server refuses us."""

    @pytest.fixture
    def demanding(self, authority):
        context = authority.context("localhost")
        authority.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def test_opportunistic_goes_on_in_plain_text(self, server, send, demanding):
        target = await server(context=demanding)

        results = [await send(target, tls=TlsMode.OPPORTUNISTIC) for _ in range(2)]

        assert [(result.outcome.code, result.tls) for result in results] == [(250, None)] * 2
        assert len(target.sessions) == 2

    async def test_required_reports_it_as_tls_trouble(self, server, send, demanding):
        target = await server(context=demanding)

        result = await send(target, tls=TlsMode.REQUIRED)

        assert isinstance(result.outcome, Unreachable)
        assert result.outcome.kind is UnreachableKind.TLS
        assert len(target.sessions) == 1
        assert not any(command.startswith("MAIL") for command in target.commands)

    @pytest.mark.parametrize("answer", ["drop", "hang"])
    async def test_a_server_that_is_lost_over_starttls_gets_mail_in_plain_text(
        self, server, send, make_pool, authority, answer
    ):
        target = await server(context=authority.context("localhost"), answers={"STARTTLS": answer})
        pool = make_pool(timeouts=Timeouts(command=0.3, quit=0.2))

        result = await send(target, tls=TlsMode.OPPORTUNISTIC, through=pool)

        assert result.outcome.code == 250
        assert result.tls is None
        assert len(target.mails) == 1

    async def test_a_server_that_is_lost_before_starttls_is_not_dialled_twice(self, server, send, authority):
        target = await server(context=authority.context("localhost"), answers={"EHLO": "drop"})

        result = await send(target, tls=TlsMode.OPPORTUNISTIC)

        assert isinstance(result.outcome, Unreachable)
        assert result.outcome.kind is UnreachableKind.LOST
        assert len(target.sessions) == 1
