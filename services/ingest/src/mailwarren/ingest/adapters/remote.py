"""Fetching a file from an address that a caller named, without reaching anything that is not everybody's.

A name is resolved once and the connection goes to the address that was checked, so that a second answer of its DNS
changes nothing; each redirect is looked at in the same way. What comes in is written to a file as it comes, up to a
limit of octets and of time.
"""

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import IO
from urllib.parse import urljoin

import httpx

from mailwarren.contracts.public_addresses import is_public
from mailwarren.ingest.domain.attachments import check_url
from mailwarren.ingest.domain.refusal import Refusal, invalid

REDIRECTS = 3
BLOCK = 64 * 1024
CONNECT = 5.0
_MOVED = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "Mailwarren", "Accept": "*/*", "Accept-Encoding": "identity"}

Resolve = Callable[[str, int], Awaitable[list[str]]]


class TooLong(Exception):
    """More octets than there may be."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came in."""

    size: int
    digest: str
    content_type: str | None


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, as the system knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Fetcher:
    """Fetches files.

    Args:
        private: whether private addresses are fetched from too; for tests and closed networks.
        resolver: the addresses of a host and port.
    """

    def __init__(self, *, private: bool, resolver: Resolve = resolve) -> None:
        self._private = private
        self._resolve = resolver

    async def fetch(self, url: str, place: str, file: IO[bytes], limit: int, within: float) -> Fetched:
        """Write what is at ``url`` to ``file``.

        Args:
            url: checked by :func:`~mailwarren.ingest.domain.attachments.check_url`.
            place: the field that named it.
            file: empty, at its begin.
            limit: octets.
            within: seconds for all of it.

        Raises:
            Refusal: 422, saying why.
            TooLong: more than ``limit``.
        """
        try:
            async with asyncio.timeout(within):
                return await self._follow(url, place, file, limit)
        except TimeoutError as error:
            raise invalid(f"Invalid `{place}` field: the file did not come within the time for it.") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise invalid(f"Invalid `{place}` field: the file cannot be fetched ({type(error).__name__}).") from error

    async def _follow(self, url: str, place: str, file: IO[bytes], limit: int) -> Fetched:
        for _ in range(REDIRECTS + 1):
            target = httpx.URL(url)
            address = await self._address(target, place)
            # Pinned: the connection goes to the address, while Host, SNI and certificate stay those of the name.
            request = httpx.Request(
                "GET",
                target.copy_with(host=address),
                headers={**_HEADERS, "Host": target.netloc.decode("ascii")},
                extensions={"sni_hostname": target.raw_host.decode("ascii"), "timeout": _timeouts()},
            )
            async with httpx.AsyncHTTPTransport(verify=_context(), http2=False) as transport:
                response = await transport.handle_async_request(request)
                try:
                    if response.status_code in _MOVED and (place_of := response.headers.get("location")):
                        url = check_url(urljoin(url, place_of), place)
                        continue
                    return await _read(response, place, file, limit)
                finally:
                    await response.aclose()
        raise invalid(f"Invalid `{place}` field: more than {REDIRECTS} redirects.")

    async def _address(self, target: httpx.URL, place: str) -> str:
        port = target.port or (443 if target.scheme == "https" else 80)
        found = await self._resolve(target.raw_host.decode("ascii").strip("[]"), port)
        # All of them: a name with a public and a private address is no mistake.
        if not found or (not self._private and not all(is_public(ip_address(_plain(one))) for one in found)):
            raise _not_public(place)
        return found[0]


async def _read(response: httpx.Response, place: str, file: IO[bytes], limit: int) -> Fetched:
    if response.status_code != httpx.codes.OK:
        raise invalid(f"Invalid `{place}` field: the server answered {response.status_code}.")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise invalid(f"Invalid `{place}` field: the server sent it compressed although it was not asked to.")
    if int(response.headers.get("content-length", 0)) > limit:
        raise TooLong
    digest, size = hashlib.sha256(), 0
    async for block in response.aiter_raw(BLOCK):
        size += len(block)
        if size > limit:
            raise TooLong
        digest.update(block)
        file.write(block)
    return Fetched(size, digest.hexdigest(), response.headers.get("content-type"))


def _plain(address: str) -> str:
    return address.partition("%")[0]


def _not_public(place: str) -> Refusal:
    return invalid(f"Invalid `{place}` field: its host has no public address, or one beside that is not.")


def _timeouts() -> dict[str, float]:
    return {"connect": CONNECT, "read": 30.0, "write": CONNECT, "pool": CONNECT}


@cache
def _context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
