"""The posting client against servers that answer as told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mailwarren.bench.http_client import NO_ANSWER, Unreadable, post_all

Answer = Callable[[int, bytes], list[bytes]]


class Server:
    """Reads posts with a Content-Length; ``answer(number of the post, its body)`` gives the octets, in writes.

    An empty list closes the connection without an answer; a last ``b""`` closes it after one.
    """

    def __init__(self, answer: Answer, delay: float = 0.0) -> None:
        self.answer = answer
        self.delay = delay
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                self.heads.append(head)
                self.bodies.append(body)
                await asyncio.sleep(self.delay)
                parts = self.answer(len(self.bodies) - 1, body)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                if not parts or parts[-1] == b"":
                    return
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: Answer, delay: float = 0.0) -> AsyncIterator[Server]:
    told = Server(answer, delay)
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/emails?x=1"
    try:
        yield told
    finally:
        server.close()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def test_each_body_is_posted_once_and_its_answer_is_in_its_place() -> None:
    bodies = [b'{"n": %d}' % n for n in range(200)]
    async with serving(lambda _, body: [ok(body)]) as server:
        before = time.time()
        posted = await post_all(server.url, {"Authorization": "Bearer k"}, bodies, connections=8)
        after = time.time()
    assert sorted(server.bodies) == sorted(bodies)
    assert [one.body for one in posted] == bodies
    assert {one.status for one in posted} == {202}
    assert server.connections == 8
    assert server.heads[0].startswith(b"POST /v1/emails?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer k\r\n" in server.heads[0]
    assert all(before - 0.1 < one.started_at <= one.answered_at < after + 0.1 for one in posted)
    assert all(one.seconds > 0 for one in posted)


async def test_an_answer_in_pieces_is_put_together() -> None:
    whole = ok(b"abcdef")
    cuts = [5, 20, 46, len(whole) - 4]
    async with serving(lambda n, _: [whole[: cuts[n]], whole[cuts[n] :]]) as server:
        posted = await post_all(server.url, {}, [b"x"] * 4, connections=1)
    assert [(one.status, one.body) for one in posted] == [(202, b"abcdef")] * 4
    assert server.connections == 1


async def test_a_refusal_is_a_status_and_no_error() -> None:
    async with serving(lambda _, _body: [b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]) as server:
        posted = await post_all(server.url, {}, [b"x"] * 2, connections=1)
    assert [one.status for one in posted] == [503, 503]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_connection_that_the_server_closes_after_an_answer_is_opened_again(announced: bool) -> None:
    close = b"Connection: close\r\n" if announced else b""
    async with serving(lambda _, _body: [b"HTTP/1.1 202 Ok\r\n%bContent-Length: 0\r\n\r\n" % close, b""]) as server:
        # At a rate, so that the closing has arrived before the next post is due.
        posted = await post_all(server.url, {}, [b"x"] * 5, connections=1, rate=8)
    assert [one.status for one in posted] == [202] * 5
    assert (server.connections, len(server.bodies)) == (5, 5)


async def test_a_post_without_an_answer_is_never_repeated() -> None:
    async with serving(lambda n, body: [] if n == 1 else [ok(body)]) as server:
        posted = await post_all(server.url, {}, [b"a", b"b", b"c"], connections=1)
    assert [one.status for one in posted] == [202, NO_ANSWER, 202]
    assert server.bodies == [b"a", b"b", b"c"]


async def test_an_answer_of_unknown_length_is_an_error() -> None:
    async with serving(lambda _, _body: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]) as server:
        with pytest.raises(Unreadable, match="Content-Length"):
            await post_all(server.url, {}, [b"x"] * 3, connections=2)


async def test_at_a_rate_a_slow_server_is_seen_in_the_waiting() -> None:
    """Posts are due every 10 ms; one connection that takes 30 ms each falls behind by 20 ms with each post."""
    async with serving(lambda _, body: [ok(body)], delay=0.03) as server:
        posted = await post_all(server.url, {}, [b"x"] * 10, connections=1, rate=100)
    dues = [one.started_at - posted[0].started_at for one in posted]
    assert dues == pytest.approx([n / 100 for n in range(10)], abs=1e-6)
    assert posted[0].seconds >= 0.03
    assert posted[9].seconds >= 10 * 0.03 - 9 * 0.01


async def test_at_a_rate_posts_do_not_wait_for_each_other() -> None:
    async with serving(lambda _, body: [ok(body)], delay=0.2) as server:
        before = time.perf_counter()
        posted = await post_all(server.url, {}, [b"x"] * 20, connections=20, rate=100)
        elapsed = time.perf_counter() - before
    assert 0.19 + 0.2 <= elapsed < 2
    assert max(one.seconds for one in posted) < 1


async def test_nobody_there_is_an_error() -> None:
    async with serving(lambda _, body: [ok(body)]) as server:
        url = server.url
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await post_all(url, {}, [b"x"], connections=1)
