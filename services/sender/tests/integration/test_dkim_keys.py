"""Keys over HTTP from a server that may be slow, wrong or away, and what goes on without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote
from uuid import UUID

import pytest
import structlog

from mailwarren.contracts.dkim import ED25519, RSA, SigningKey, SigningKeys, encode_keys
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.testing import TENANT
from mailwarren.devstack.harness.dkim import make_pair
from mailwarren.sender.adapters import dkim_keys as module
from mailwarren.sender.adapters.dkim_keys import DkimKeys, KeysAway
from mailwarren.sender.adapters.internal import Internal
from mailwarren.sender.settings import SenderSettings

TOKEN = "a token of senders"
FIRST, SECOND, EDWARDS = make_pair("mw1").key, make_pair("mw2").key, make_pair("mw1e", ED25519).key
OTHER = new_id()


class Server:
    """Ingest's internal HTTP as a sender sees it."""

    def __init__(self) -> None:
        self.keys: dict[tuple[UUID, str], tuple[SigningKey, ...]] = {(TENANT, "sender.test"): (FIRST,)}
        self.asked: list[str] = []
        self.status: int | None = None
        self.body: bytes | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.fresh_for = 300.0
        self.open: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        task.add_done_callback(self.open.discard)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert f"authorization: bearer {TOKEN}" in head.lower()
                self.asked.append(head.split()[1])
                await self.hold.wait()
                status, body = self.answer(head.split()[1])
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.status is not None:
            return self.status, b"no"
        quoted, _, tenant = path.removeprefix("/internal/dkim/").partition("?tenant=")
        domain = unquote(quoted)
        keys = self.keys.get((UUID(tenant), domain))
        if keys is None:
            return 404, b"no such domain"
        return 200, self.body or encode_keys(SigningKeys(domain, keys, time.time() + self.fresh_for))


@pytest.fixture
def upstream() -> Server:
    return Server()


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(upstream: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DkimKeys]:
    monkeypatch.setattr(module, "RETRY", 0.01)
    async with serving(upstream) as url, Internal(url, TOKEN) as internal:
        made = DkimKeys(internal, limit=3, keep=3600.0, clock=clock)
        yield made
        await made.close()


@asynccontextmanager
async def serving(upstream: Server) -> AsyncIterator[str]:
    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    upstream.hold.set()
    if upstream.open:
        await asyncio.wait(upstream.open)  # whoever asked has gone


async def selectors(keys: DkimKeys, domain: str = "sender.test", tenant: UUID = TENANT) -> list[str]:
    return [key.selector for key in (await keys.get(tenant, domain)).keys]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_keys_are_asked_for_once_and_sign(keys, upstream):
    upstream.keys[TENANT, "sender.test"] = (EDWARDS, FIRST)
    assert await asyncio.gather(*(selectors(keys) for _ in range(20))) == [["mw1", "mw1e"]] * 20
    assert upstream.asked == [f"/internal/dkim/sender.test?tenant={TENANT}"]
    for key in (await keys.get(TENANT, "sender.test")).keys:
        assert key.verifies(key.sign(b"data"), b"data")
        assert not key.verifies(key.sign(b"data"), b"other")


async def test_two_tenants_have_a_domain_each(keys, upstream):
    upstream.keys[OTHER, "sender.test"] = (SECOND,)
    assert await selectors(keys) == ["mw1"]
    assert await selectors(keys, tenant=OTHER) == ["mw2"]


async def test_a_rotation_is_noticed_beside_the_mail_before_the_answer_is_old(keys, upstream, clock):
    await selectors(keys)
    upstream.keys[TENANT, "sender.test"] = (SECOND,)
    clock.ahead = 299.0
    upstream.hold.clear()
    assert await selectors(keys) == ["mw1"]  # at once: nobody waits for the question
    await until(lambda: len(upstream.asked) == 2)
    upstream.hold.set()
    for _ in range(200):
        if await selectors(keys) == ["mw2"]:
            break
        await asyncio.sleep(0.01)
    assert await selectors(keys) == ["mw2"]
    assert len(upstream.asked) == 2


async def test_keys_that_stayed_the_same_are_not_opened_again(keys, upstream, clock):
    before = await keys.get(TENANT, "sender.test")
    clock.ahead = 1000.0
    assert await keys.get(TENANT, "sender.test") is before
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("said", [-3600.0, 10.0**9])
async def test_what_an_answer_says_of_its_freshness_has_bounds(keys, upstream, clock, said):
    upstream.fresh_for = said
    await selectors(keys)
    clock.ahead = module.LEAST_FRESH * module.REFRESH[0] - 1
    await selectors(keys)
    assert len(upstream.asked) == 1
    upstream.keys[TENANT, "sender.test"] = (SECOND,)
    clock.ahead = module.MOST_FRESH + 1
    assert await selectors(keys) == ["mw2"]


async def test_known_keys_go_on_while_ingest_is_away_and_not_for_ever(keys, upstream, clock):
    await selectors(keys)
    upstream.status = 503
    clock.ahead = 3000.0
    assert await selectors(keys) == ["mw1"]
    assert keys.stats().age == pytest.approx(3000, abs=5)
    assert keys.missing() == ()
    clock.ahead = 3600.0 + module.MOST_FRESH + 1
    with pytest.raises(KeysAway, match="ingest answered 503"):
        await selectors(keys)
    (missing,) = keys.missing()
    assert (missing.tenant, missing.domain, missing.why) == (TENANT, "sender.test", "ingest answered 503")
    upstream.status = None
    clock.ahead += module.AGAIN + 0.1
    assert await selectors(keys) == ["mw1"]
    assert keys.missing() == ()
    assert keys.stats().age == pytest.approx(0, abs=1)


async def test_mail_does_not_wait_long_for_newer_keys(keys, upstream, clock, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    await selectors(keys)
    upstream.hold.clear()
    clock.ahead = 1000.0
    assert await selectors(keys) == ["mw1"]
    upstream.hold.set()


@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_without_keys_mail_waits_and_asks_again_after_a_while(keys, upstream, clock, status):
    upstream.status = status
    with pytest.raises(KeysAway):
        await selectors(keys)
    asked = len(upstream.asked)
    assert asked == (1 if status == 404 else 2)
    with pytest.raises(KeysAway):
        await selectors(keys)
    assert len(upstream.asked) == asked
    assert [one.domain for one in keys.missing()] == ["sender.test"]
    assert keys.stats().missing == 1
    upstream.status = None
    clock.ahead = module.AGAIN + 0.1
    assert await selectors(keys) == ["mw1"]


async def test_a_domain_whose_keys_were_withdrawn_signs_nothing_any_more(keys, upstream, clock):
    await selectors(keys)
    del upstream.keys[TENANT, "sender.test"]
    clock.ahead = module.MOST_FRESH + 1
    with pytest.raises(KeysAway, match="no DKIM key in force"):
        await selectors(keys)
    assert keys.stats().known == 0


@pytest.mark.parametrize(
    "bad",
    [
        SigningKey("mw9", RSA, b"\x30\x00"),
        SigningKey("mw9", ED25519, FIRST.private),
        SigningKey("mw9", "falcon-sha3", EDWARDS.private),
        SigningKey("mw9; d=other.test", RSA, FIRST.private),
        SigningKey("", RSA, FIRST.private),
        SigningKey("mw9", RSA, b""),
    ],
)
async def test_a_key_that_cannot_be_used_is_passed_over_and_alone_it_is_none(keys, upstream, clock, bad):
    upstream.keys[TENANT, "sender.test"] = (bad, FIRST)
    assert await selectors(keys) == ["mw1"]
    upstream.keys[TENANT, "sender.test"] = (bad,)
    clock.ahead = module.MOST_FRESH + 1
    with pytest.raises(KeysAway, match="none of its DKIM keys can be used"):
        await selectors(keys)


async def test_a_damaged_key_signs_nothing(keys, upstream):
    octets = bytearray(FIRST.private)
    octets[100] ^= 2  # in the modulus
    upstream.keys[TENANT, "sender.test"] = (SigningKey("mw1", RSA, bytes(octets)),)
    with pytest.raises(KeysAway):
        await selectors(keys)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        encode_keys(SigningKeys("other.test", (FIRST,), 2e9)),
        encode_keys(SigningKeys("sender.test", (), 2e9)),
    ],
)
async def test_another_answer_is_none(keys, upstream, body):
    upstream.body = body
    with pytest.raises(KeysAway):
        await selectors(keys)


@pytest.mark.parametrize("domain", ["Sender.test", "a;b.test", "sender.test\r\nX: y", "a..b", ""])
async def test_a_domain_that_cannot_stand_in_a_signature_gets_none(keys, upstream, domain):
    upstream.body = encode_keys(SigningKeys(domain, (FIRST,), 2e9))
    upstream.keys[TENANT, domain] = (FIRST,)
    with pytest.raises(KeysAway):
        await selectors(keys, domain)


async def test_the_domain_unused_for_longest_is_forgotten_first(keys, upstream):
    for n in range(4):
        upstream.keys[TENANT, f"d{n}.test"] = (EDWARDS,)
    for n in (0, 1, 2, 0, 3, 0):
        await selectors(keys, f"d{n}.test")
    assert len(upstream.asked) == 4
    assert keys.stats().known == 3
    await selectors(keys, "d1.test")
    assert len(upstream.asked) == 5


async def test_a_thousand_domains_are_asked_for_once_each(upstream, clock):
    names = [f"d{n}.test" for n in range(1000)]
    upstream.keys |= {(TENANT, name): (EDWARDS,) for name in names}
    async with serving(upstream) as url, Internal(url, TOKEN) as internal:
        keys = DkimKeys(internal, limit=SenderSettings().dkim_domains, keep=0.0, clock=clock)
        for _ in range(3):
            for name in names:
                assert (await keys.get(TENANT, name)).domain == name
        await keys.close()
    assert len(upstream.asked) == 1000


async def test_a_domain_is_not_told_of_for_ever(keys, upstream, clock):
    upstream.status = 503
    with pytest.raises(KeysAway):
        await selectors(keys)
    since = keys.missing()[0].since
    clock.ahead = 60.0
    with pytest.raises(KeysAway):
        await selectors(keys)
    assert keys.missing()[0].since == since
    clock.ahead += module.TOLD_FOR + 1
    assert keys.missing() == ()
    assert keys.stats().missing == 0


async def test_no_server(clock, monkeypatch):
    monkeypatch.setattr(module, "RETRY", 0.0)
    for url, why in ((None, "MAILWARREN_INTERNAL_URL is not set"), ("http://127.0.0.1:9", "ConnectError")):
        async with Internal(url, None) as internal:
            keys = DkimKeys(internal, limit=3, keep=0.0, clock=clock)
            with pytest.raises(KeysAway, match=why):
                await selectors(keys)
            await keys.close()


async def test_who_goes_away_does_not_stop_the_others(keys, upstream):
    upstream.hold.clear()
    first, second = (asyncio.create_task(selectors(keys)) for _ in range(2))
    await until(lambda: bool(upstream.asked))
    first.cancel()
    upstream.hold.set()
    assert await second == ["mw1"]
    assert len(upstream.asked) == 1


async def test_no_log_line_holds_a_private_key(keys, upstream):
    upstream.keys[TENANT, "sender.test"] = (SigningKey("mw9", RSA, b"0123456789" * 10),)
    with structlog.testing.capture_logs() as logs, pytest.raises(KeysAway) as raised:
        await selectors(keys)
    assert [one["event"] for one in logs] == ["sender.dkim.key_unusable", "sender.dkim.keys_away"]
    said = f"{logs} {raised.value!r} {keys.missing()}"
    assert "0123456789" not in said
    assert "MDEyMzQ1Njc4OT" not in said
