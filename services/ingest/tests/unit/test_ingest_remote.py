"""Files fetched for a caller: nothing that is not everybody's is reached, and nothing runs without end."""

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address

import pytest

from mailwarren.contracts.public_addresses import is_public
from mailwarren.ingest.adapters.remote import Fetched, Fetcher, TooLong
from mailwarren.ingest.domain.refusal import Refusal

Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
PLACE = "attachments[0].path"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
        "168.63.129.16", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_an_address_that_is_not_everybodys(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_of_the_internet(address):
    assert is_public(ip_address(address))


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answering], Awaitable[int]]]:
    """Starts an HTTP server on the loopback that answers as it is told; returns its port."""
    servers: list[asyncio.Server] = []

    async def start(answering: Answering) -> int:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answering(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        servers.append(await asyncio.start_server(handle, "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()


def says(head: str, body: bytes = b"") -> Answering:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() + body)

    return answer


async def fetch(
    url: str, *, private: bool = True, limit: int = 10_000, within: float = 5.0, **more
) -> tuple[Fetched, bytes]:
    file = io.BytesIO()
    return await Fetcher(private=private, **more).fetch(url, PLACE, file, limit, within), file.getvalue()


async def refused(url: str, **more) -> str:
    with pytest.raises(Refusal) as caught:
        await fetch(url, **more)
    assert caught.value.status == 422
    assert PLACE in caught.value.message
    return caught.value.message


async def test_a_file_with_its_type(serve):
    port = await serve(says("200 OK\r\nContent-Type: image/png\r\nContent-Length: 3", b"abc"))
    found, octets = await fetch(f"http://127.0.0.1:{port}/logo.png")
    assert octets == b"abc"
    assert found == Fetched(3, hashlib.sha256(b"abc").hexdigest(), "image/png")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
async def test_a_loopback_address_however_it_is_written(host):
    assert "no public address" in await refused(f"http://{host}:1/", private=False)


async def test_a_name_with_one_private_address_among_public_ones():
    async def resolver(_host: str, _port: int) -> list[str]:
        return ["1.1.1.1", "10.0.0.1"]

    assert "no public address" in await refused("http://both.test/", private=False, resolver=resolver)


async def test_the_connection_goes_to_the_address_that_was_checked(serve):
    port = await serve(says("200 OK\r\nContent-Length: 2", b"me"))
    asked = []

    async def resolver(host: str, _port: int) -> list[str]:
        # A name that answers otherwise each time it is asked, as in DNS rebinding.
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    _, octets = await fetch(f"http://rebinding.test:{port}/", resolver=resolver)
    assert octets == b"me"
    assert asked == ["rebinding.test"]


async def test_the_server_is_told_the_name_that_was_given(serve):
    heads = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head.decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def resolver(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    port = await serve(answer)
    await fetch(f"http://files.test:{port}/a%20b?c=d", resolver=resolver)
    assert heads[0].startswith("get /a%20b?c=d http/1.1\r\n")
    assert f"host: files.test:{port}" in heads[0]


async def test_a_redirect_to_a_private_address_is_not_followed(serve):
    reached = []

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        reached.append("inside")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    inside = await serve(answer)
    outside = await serve(says(f"302 Found\r\nLocation: http://127.0.0.1:{inside}/secret\r\nContent-Length: 0"))

    class Outside(Fetcher):
        """Takes the first server, which is on the loopback as everything here, for one of the internet."""

        async def _address(self, target, place):
            return "127.0.0.1" if target.host == "outside.test" else await super()._address(target, place)

    with pytest.raises(Refusal, match="no public address"):
        await Outside(private=False).fetch(f"http://outside.test:{outside}/", PLACE, io.BytesIO(), 100, 5.0)
    assert reached == []


async def test_three_redirects_and_no_more(serve):
    port = 0

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        left = int(head.split()[1][1:])
        if not left:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend")
        else:
            writer.write(f"HTTP/1.1 307 Go\r\nLocation: /{left - 1}\r\nContent-Length: 0\r\n\r\n".encode())

    port = await serve(answer)
    assert (await fetch(f"http://127.0.0.1:{port}/3"))[1] == b"end"
    assert "more than 3 redirects" in await refused(f"http://127.0.0.1:{port}/4")


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://x.test/", "gopher://127.0.0.1:25/_x", "http://u:p@x.test/"]
)
async def test_a_redirect_to_something_that_is_no_web_address(serve, location):
    port = await serve(says(f"302 Found\r\nLocation: {location}\r\nContent-Length: 0"))
    await refused(f"http://127.0.0.1:{port}/")


async def test_ten_gigabytes_that_are_announced_are_not_begun(serve):
    port = await serve(says(f"200 OK\r\nContent-Length: {10 * 2**30}"))
    with pytest.raises(TooLong):
        await fetch(f"http://127.0.0.1:{port}/")


async def test_ten_gigabytes_that_are_not_announced_end_at_the_limit(serve):
    sent = 0

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while sent < 10 * 2**30:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    port = await serve(answer)
    with pytest.raises(TooLong):
        await fetch(f"http://127.0.0.1:{port}/", limit=2**20)
    assert sent < 64 * 2**20


async def test_a_file_that_drips_in_ends_in_time(serve):
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    port = await serve(answer)
    start = time.monotonic()
    assert "within the time" in await refused(f"http://127.0.0.1:{port}/", within=0.4)
    assert time.monotonic() - start < 3


async def test_a_compressed_answer_that_nobody_asked_for(serve):
    port = await serve(says("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1", b"x"))
    assert "compressed" in await refused(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("head", ["404 Not Found", "500 Oops", "204 No Content", "302 Found"])
async def test_an_answer_without_a_file(serve, head):
    port = await serve(says(f"{head}\r\nContent-Length: 0"))
    assert head[:3] in await refused(f"http://127.0.0.1:{port}/")


async def test_a_server_that_is_not_there():
    assert "cannot be fetched" in await refused("http://127.0.0.1:9/")
