"""Against another project's SMTP server: what it stores is what we sent."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from mailwarren.sender.smtp import Auth, Envelope, Host, Pool, Site, TlsMode, prepare_data


class Keeper:
    """Keeps what it is sent, and lets ``mailer`` log in."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.kept.append((session, envelope))
        return "250 2.0.0 kept"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"mailer", b"s3cret")
        return AuthResult(success=good, handled=False)


@pytest.fixture
def keeper(authority: Any) -> Iterator[tuple[Keeper, int]]:
    """It runs on an asyncio loop in a thread: its STARTTLS works on no other."""
    handler = Keeper()
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        return SMTP(
            handler,
            hostname="kept.example",
            tls_context=authority.context("localhost"),
            require_starttls=True,
            authenticator=handler.login,
            auth_required=True,
            enable_SMTPUTF8=True,
            loop=loop,
        )

    server = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield handler, server.sockets[0].getsockname()[1]

    async def stop() -> None:
        server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_messages_survive_unchanged_over_tls_and_auth(keeper, make_pool, authority):
    handler, port = keeper
    pool: Pool = make_pool(ca_file=authority.ca_file)
    site = Site("kept", (Host("localhost", port, "127.0.0.1"),), TlsMode.VERIFY, auth=Auth("mailer", "s3cret"))
    bodies = [b"Subject: %d\r\n\r\n.\r\n..\r\n.x\r\n\r\nend %d\r\n" % (n, n) for n in range(40)]

    results = await asyncio.gather(
        *(
            pool.send(site, Envelope("a@a.example", f"jürgen{n}@b.example"), prepare_data(body), lambda: True)
            for n, body in enumerate(bodies)
        )
    )

    assert {(result.outcome.code, result.outcome.text) for result in results} == {(250, "kept")}
    assert sorted(envelope.content for _, envelope in handler.kept) == sorted(bodies)
    assert {envelope.rcpt_tos[0] for _, envelope in handler.kept} == {f"jürgen{n}@b.example" for n in range(40)}
    assert all(session.ssl and session.authenticated for session, _ in handler.kept)


async def test_wrong_credentials_are_its_answer(keeper, make_pool, authority):
    _, port = keeper
    site = Site("kept", (Host("localhost", port, "127.0.0.1"),), TlsMode.VERIFY, auth=Auth("mailer", "wrong"))

    result = await make_pool(ca_file=authority.ca_file).send(
        site, Envelope("a@a.example", "b@b.example"), prepare_data(b"x\r\n"), lambda: True
    )

    assert (result.outcome.code, result.outcome.command) == (535, "auth")
