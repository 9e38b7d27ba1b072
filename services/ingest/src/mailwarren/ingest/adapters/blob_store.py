"""The blob store: a bucket of S3, Google or Azure, or a folder, through obstore.

Objects are named by their SHA-256, ``ab/abcdef…``, and never change. Credentials come from where the providers' own
tools look for them (``AWS_*``, ``GOOGLE_*``, ``AZURE_*``, workload identity).
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

CHUNK = 5 * 2**20
"""Octets of one part of an upload: S3 takes none smaller."""
AT_ONCE = 2
"""Parts of an upload on their way at the same time; each is in memory."""
BLOCK = 256 * 1024
RETRIES: Any = {"max_retries": 2}
"""For each request to the store, by obstore itself."""
CLIENT: Any = {"connect_timeout": "3s", "timeout": "20s"}
_any_store: Any = from_url  # its overloads want to know which kind of store it is
SCHEMES = frozenset({"file", "s3", "gs", "az"})


class BlobsDown(Exception):
    """The store did not do it; the text says why. Whether an object was written is unknown."""


class NoSuchBlob(Exception):
    """There is no such object."""


def check_url(url: str) -> str:
    """The address of a store.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not (parts.path if parts.scheme == "file" else parts.netloc):
        raise ValueError("give it as s3://bucket/prefix, gs://bucket/prefix, az://account/container or file:///folder")
    return url


class BlobStore:
    """Objects by digest (64 hexadecimal characters)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._store: Any
        if parts.scheme == "file":
            self._store = LocalStore(Path(unquote(parts.path)), mkdir=True)
        else:
            # A store on plain HTTP is one of the machine or of the cluster: AWS_ENDPOINT_URL has to say so.
            options = {**CLIENT, "allow_http": True}
            self._store = _any_store(url, client_options=options, retry_config=RETRIES)

    async def put(self, digest: str, path: Path) -> None:
        """Store a file.

        Raises:
            BlobsDown: it may be there or not.
        """
        try:
            await obstore.put_async(self._store, _name(digest), path, chunk_size=CHUNK, max_concurrency=AT_ONCE)
        except (BaseError, OSError) as error:
            raise BlobsDown(_said(error)) from error

    async def read(self, digest: str) -> tuple[int, AsyncIterator[bytes]]:
        """The object's size, and its octets as they come in. The iterator may raise ``BlobsDown``.

        Raises:
            NoSuchBlob: it is not there.
            BlobsDown: nothing is known.
        """
        try:
            found = await obstore.get_async(self._store, _name(digest))
        except FileNotFoundError as error:
            raise NoSuchBlob(digest) from error
        except (BaseError, OSError) as error:
            raise BlobsDown(_said(error)) from error
        return found.meta["size"], _blocks(found)

    async def delete(self, digest: str) -> None:
        """Delete it, if it is there.

        Raises:
            BlobsDown: it may be there or not.
        """
        try:
            await obstore.delete_async(self._store, _name(digest))
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise BlobsDown(_said(error)) from error


async def _blocks(found: Any) -> AsyncIterator[bytes]:
    try:
        async for block in found.stream(min_chunk_size=BLOCK):
            yield bytes(block)
    except (BaseError, OSError) as error:
        raise BlobsDown(_said(error)) from error


def _name(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _said(error: BaseException) -> str:
    """One line: the library's own texts go on with a dump of the error."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
