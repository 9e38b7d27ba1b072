"""Attachments over HTTP from a server that may be slow, wrong or away, and the folder that keeps them."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailwarren.contracts.parcel import Attachment
from mailwarren.sender.adapters import blobs as module
from mailwarren.sender.adapters.blobs import BlobMissing, Blobs, BlobsAway, encoded_size
from mailwarren.sender.adapters.internal import Internal

TOKEN = "a token of senders"


class Server:
    """Ingest's internal HTTP as a sender sees it."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.status: list[int] = []
        """Answers before those that are right."""
        self.cut = 0
        """Octets that every answer lacks at its end."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                writer.write(self._answer(head))
                await writer.drain()
                if self.cut:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, head: str) -> bytes:
        assert f"authorization: bearer {TOKEN}" in head.lower()
        digest = head.split()[1].rpartition("/")[2]
        self.asked.append(digest)
        octets = self.blobs.get(digest)
        status = self.status.pop(0) if self.status else (404 if octets is None else 200)
        octets = octets or b""
        body = octets[: len(octets) - self.cut] if status == 200 else b""
        length = len(octets) if status == 200 else 0
        return f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n".encode() + body

    def add(self, octets: bytes) -> Attachment:
        digest = hashlib.sha256(octets).hexdigest()
        self.blobs[digest] = octets
        return Attachment(f"{digest[:6]}.bin", "application/octet-stream", digest, len(octets))


@pytest.fixture
def upstream() -> Server:
    return Server()


@pytest.fixture
async def make(upstream: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Blobs]]:
    monkeypatch.setattr(module, "RETRIES", (0.01, 0.01))
    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Internal(url, TOKEN) as internal:
        yield lambda folder, limit=2**20: Blobs(internal, folder=folder, limit=limit)
    server.close()


async def octets_of(blobs: Blobs, *attachments: Attachment) -> list[bytes]:
    async with blobs.open(attachments) as files:
        lines = [bytes(file.encoded).split(b"\r\n") for file in files]
        assert all(len(line) <= 76 for one in lines for line in one)
        assert all(len(file.encoded) == encoded_size(file.attachment.size) for file in files)
        return [base64.b64decode(b"".join(one), validate=True) for one in lines]


@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, 5000, 700_001])
async def test_the_octets_are_those_of_the_blob(make, upstream, tmp_path, size):
    octets = bytes(number % 251 for number in range(size))
    async with make(tmp_path) as blobs:
        assert await octets_of(blobs, upstream.add(octets)) == [octets]


async def test_many_who_want_the_same_wait_for_one_download(make, upstream, tmp_path):
    one = upstream.add(b"x" * 1000)
    async with make(tmp_path) as blobs:
        await asyncio.gather(*(octets_of(blobs, one) for _ in range(20)))
        await octets_of(blobs, one, one)
    assert upstream.asked == [one.digest]


async def test_the_next_process_finds_what_is_there(make, upstream, tmp_path):
    one = upstream.add(b"kept")
    (tmp_path / "torn.part").write_bytes(b"half")
    for _ in range(2):
        async with make(tmp_path) as blobs:
            assert await octets_of(blobs, one) == [b"kept"]
    assert upstream.asked == [one.digest]
    assert [path.name for path in tmp_path.iterdir()] == [f"{one.digest}.b64"]


async def test_a_folder_of_its_own_goes_with_the_process(make, upstream):
    async with make(None) as blobs:
        await octets_of(blobs, upstream.add(b"x"))
        folder = blobs._folder
        assert list(folder.iterdir())
    assert not folder.exists()


async def test_what_was_not_used_for_longest_makes_room(make, upstream, tmp_path):
    first, second, third = (upstream.add(bytes([number]) * 30_000) for number in range(3))
    async with make(tmp_path, limit=100_000) as blobs:
        await octets_of(blobs, first)
        await octets_of(blobs, second)
        await octets_of(blobs, first)
        await octets_of(blobs, third)
    left = {path.stem for path in tmp_path.iterdir()}
    assert left == {first.digest, third.digest}


async def test_parcels_wait_for_room_in_the_folder(make, upstream, tmp_path):
    first, second = upstream.add(b"a" * 60_000), upstream.add(b"b" * 60_000)
    async with make(tmp_path, limit=100_000) as blobs:
        async with blobs.open([first]):
            waiting = asyncio.create_task(octets_of(blobs, second))
            done, _ = await asyncio.wait({waiting}, timeout=0.1)
            assert not done
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000
        assert await waiting == [b"b" * 60_000]


async def test_it_is_known_what_is_at_hand(make, upstream, tmp_path):
    first, second = upstream.add(b"a" * 60_000), upstream.add(b"b" * 10_000)
    async with make(tmp_path, limit=100_000) as blobs:
        assert not blobs.at_hand([first])
        await octets_of(blobs, first)
        assert blobs.at_hand([first])
        assert not blobs.at_hand([first, second])
        async with blobs.open([first]):
            assert not blobs.at_hand([first])


async def test_what_is_mapped_outlives_its_file(make, upstream, tmp_path):
    one = upstream.add(b"still here")
    async with make(tmp_path) as blobs, blobs.open([one]) as (file,):
        Path(tmp_path / f"{one.digest}.b64").unlink()
        assert base64.b64decode(bytes(file.encoded)) == b"still here"


@pytest.mark.parametrize("status", [500, 503, 401])
async def test_trouble_is_tried_again_and_then_told(make, upstream, tmp_path, status):
    one = upstream.add(b"x")
    async with make(tmp_path) as blobs:
        upstream.status = [status] * 2
        assert await octets_of(blobs, one) == [b"x"]
        other = upstream.add(b"y")
        upstream.status = [status] * 3
        with pytest.raises(BlobsAway, match=str(status)):
            await octets_of(blobs, other)
        assert await octets_of(blobs, other) == [b"y"]


async def test_a_blob_that_is_not_there(make, tmp_path):
    gone = Attachment("a.pdf", "application/pdf", "0" * 64, 5)
    async with make(tmp_path) as blobs:
        with pytest.raises(BlobMissing, match=r"a\.pdf"):
            await octets_of(blobs, gone)


@pytest.mark.parametrize("how", ["other octets", "cut short", "longer"])
async def test_octets_that_are_not_the_blobs_reach_no_mail(make, upstream, tmp_path, how):
    one = upstream.add(b"x" * 1000)
    if how == "cut short":
        upstream.cut = 10
    else:
        upstream.blobs[one.digest] = b"y" * (1000 if how == "other octets" else 2000)
    async with make(tmp_path) as blobs:
        with pytest.raises(BlobsAway):
            await octets_of(blobs, one)
    assert not list(tmp_path.iterdir())


async def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", ())
    one = Attachment("a", "a/b", "0" * 64, 5)
    for url in (None, "http://127.0.0.1:9"):
        async with Internal(url, None) as internal, Blobs(internal, folder=tmp_path, limit=2**20) as blobs:
            with pytest.raises(BlobsAway):
                await octets_of(blobs, one)


async def test_who_goes_away_does_not_stop_the_others(make, upstream, tmp_path):
    one = upstream.add(b"x" * 500_000)
    async with make(tmp_path) as blobs:
        first, second = (asyncio.create_task(octets_of(blobs, one)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [b"x" * 500_000]
