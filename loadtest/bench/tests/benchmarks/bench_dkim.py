"""What a signature costs: OpenSSL, and all that is around it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from mailwarren.contracts.dkim import ED25519, RSA
from mailwarren.devstack.harness.dkim import make_pair
from mailwarren.sender.adapters.dkim_keys import DomainKeys
from mailwarren.sender.adapters.private_keys import open_key
from mailwarren.sender.domain.dkim import hash_body, sign_mail
from mailwarren.sender.domain.render import fill, write_body, write_head
from mailwarren.sender.signing.batches import Batches
from mailwarren.sender.signing.mails import Signing, make_body


class Free:
    """A key that costs nothing."""

    selector = "mw1"
    algorithm = RSA

    def sign(self, data: bytes) -> bytes:
        return b"x" * 256

    def verifies(self, signature: bytes, data: bytes) -> bool:
        return False


@pytest.fixture
def mail(parcel):
    delivery = parcel.deliveries[7]
    subject, html, text = fill(parcel.content, delivery)
    return write_head(parcel.content, delivery, parcel.accepted_at, subject), write_body(html, text, delivery.id.hex)


@pytest.mark.parametrize("algorithm", [RSA, ED25519])
def bench_dkim_openssl(benchmark, algorithm):
    key = open_key(make_pair("mw1", algorithm).key)
    assert key.verifies(benchmark(key.sign, b"data" * 100), b"data" * 100)


@pytest.mark.parametrize("algorithm", [RSA, ED25519])
def bench_dkim_verify(benchmark, algorithm):
    key = open_key(make_pair("mw1", algorithm).key)
    assert benchmark(key.verifies, key.sign(b"data"), b"data")


def bench_dkim_hash_body(benchmark, mail):
    body = mail[1].partition(b"\r\n\r\n")[2]
    assert len(benchmark(hash_body, [body])) == 44


def bench_dkim_all_but_openssl(benchmark, mail):
    head, body = mail
    parts = [body.partition(b"\r\n\r\n")[2]]
    signed = benchmark(
        lambda: sign_mail(head, hash_body(parts), domain="sender.test", keys=[Free()], now=1_764_000_000)
    )
    assert signed.fields.startswith(b"DKIM-Signature: v=1")


def bench_dkim_body_of_a_parcel(benchmark, parcel):
    html, text = "<p>Hello" * 200, "Hello\n" * 200
    assert benchmark(make_body, html, text, (), "ab" * 16).fields


@pytest.mark.parametrize("count", [1, 50])
def bench_dkim_mails_over_threads(benchmark, parcel, count):
    """With RSA, as many at once as a parcel has."""
    loop = asyncio.new_event_loop()
    content = replace(parcel.content, signing="sender.test")
    parcel = replace(parcel, content=content, deliveries=parcel.deliveries[:count])
    keys = DomainKeys("sender.test", (open_key(make_pair("mw1").key),))
    with ThreadPoolExecutor(2) as threads:

        async def run():
            signing = Signing(keys, Batches(threads, 2))
            return await asyncio.gather(*(signing.make_data(parcel, one, ()) for one in parcel.deliveries))

        made = benchmark(lambda: loop.run_until_complete(run()))
    loop.close()
    assert len(made) == count
