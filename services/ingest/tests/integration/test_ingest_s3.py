"""The blob store on a real server that speaks S3 (SeaweedFS), and in a folder: both do the same."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from mailwarren.devstack.ports import free_ports
from mailwarren.ingest.adapters.blob_store import BlobsDown, BlobStore, NoSuchBlob, check_url

SECRETS = {"accessKey": "key", "secretKey": "secretsecret"}
IDENTITY = {"name": "mail", "credentials": [SECRETS], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
LARGE = bytes(range(256)) * 48 * 1024
"""12 MiB: three parts of an upload."""


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its S3 address, with a bucket ``mail``."""
    root = tmp_path_factory.mktemp("weed")
    (root / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
    # Each port has a second one for gRPC, which is chosen too: port + 10000 may be anybody's.
    master, volume, filer, s3, *grpc = free_ports(8)
    argv = [
        str(Path(sys.executable).with_name("weed")), "server", f"-dir={root}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
        f"-master.port.grpc={grpc[0]}", f"-volume.port.grpc={grpc[1]}", f"-filer.port.grpc={grpc[2]}",
        f"-s3.port.grpc={grpc[3]}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={root / 's3.json'}",
        "-master.volumeSizeLimitMB=64", "-volume.max=20",
    ]  # fmt: skip
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=root)
    try:
        end = time.monotonic() + 40
        while True:
            try:
                # The filer knows buckets as folders: 201, and 409 when it is there already.
                if httpx.post(f"http://127.0.0.1:{filer}/buckets/mail/", timeout=2).status_code in {201, 409}:
                    httpx.get(f"http://127.0.0.1:{s3}/", timeout=2)
                    break
            except httpx.HTTPError:
                pass
            assert process.poll() is None and time.monotonic() < end, (root / "log").read_text()[-3000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{s3}"
    finally:
        process.send_signal(signal.SIGKILL)  # it takes half a minute to end by itself
        process.wait(10)


@pytest.fixture
def on_s3(weed: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], BlobStore]:
    """A store with the credentials that stand in the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": weed, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secretsecret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return lambda: BlobStore("s3://mail/attachments")


@pytest.fixture(params=["s3", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "s3":
        return request.getfixturevalue("on_s3")()
    return BlobStore((tmp_path / "a folder").as_uri())


def a_file(tmp_path: Path, octets: bytes) -> tuple[str, Path]:
    path = tmp_path / "file"
    path.write_bytes(octets)
    return hashlib.sha256(octets).hexdigest(), path


async def read(store: BlobStore, digest: str) -> bytes:
    size, blocks = await store.read(digest)
    octets = b"".join([block async for block in blocks])
    assert size == len(octets)
    return octets


@pytest.mark.parametrize("octets", [b"", b"hello", LARGE], ids=["empty", "small", "in parts"])
async def test_what_is_put_is_read(store, tmp_path, octets):
    digest, path = a_file(tmp_path, octets)
    await store.put(digest, path)
    assert await read(store, digest) == octets
    await store.put(digest, path)
    assert await read(store, digest) == octets


async def test_what_is_deleted_is_gone(store, tmp_path):
    digest, path = a_file(tmp_path, b"to be deleted")
    await store.put(digest, path)
    await store.delete(digest)
    with pytest.raises(NoSuchBlob):
        await store.read(digest)
    await store.delete(digest)


async def test_what_was_never_there(store):
    with pytest.raises(NoSuchBlob):
        await store.read("0" * 64)


async def test_a_wrong_secret(on_s3, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    digest, path = a_file(tmp_path, b"x")
    with pytest.raises(BlobsDown):
        await on_s3().put(digest, path)
    with pytest.raises(BlobsDown):
        await on_s3().read(digest)


async def test_a_server_that_is_away(on_s3, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    digest, path = a_file(tmp_path, b"x")
    for work in (on_s3().put(digest, path), on_s3().read(digest), on_s3().delete(digest)):
        with pytest.raises(BlobsDown) as caught:
            await work
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "bucket", "/folder", "s3://", "ftp://x/y", "http://x/y", "file://"])
def test_what_is_no_store(url):
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        check_url(url)


@pytest.mark.parametrize("url", ["s3://b", "s3://b/p", "gs://b/p", "az://account/container", "file:///var/blobs"])
def test_what_is_a_store(url):
    assert check_url(url) == url
