"""What is connected to, and what every kind of receiver's answer becomes."""

import asyncio
import socket
import ssl

import pytest
import trustme

from mailwarren.contracts.ids import new_id
from mailwarren.tracker.adapters.receivers import READ_MOST, SHOWN_MOST, Names, Receivers

ENDPOINT = new_id()
HEADERS = [(b"Content-Type", b"application/json")]


@pytest.fixture
async def receivers():
    made = []

    def make(resolver=None, *, private=True, timeout=2.0, most=10):
        made.append(Receivers(private=private, timeout=timeout, most=most, resolver=resolver))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def answers(*lists):
    """A resolver that says each of these in turn, and then the last for ever."""
    left = [list(one) for one in lists]

    async def resolve(_host, _port):
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def test_a_request_is_what_was_given_and_the_connection_is_kept(receiver, receivers):
    one, to = await receiver(), receivers()
    for number in range(3):
        answer = await to.post(ENDPOINT, f"{one.url}?x=1", HEADERS, b"body %d" % number)
        assert (answer.status, answer.text, answer.trouble, answer.success) == (200, "thanks", "", True)
    assert [(got.path, got.body) for got in one.got] == [("/hook?x=1", b"body %d" % number) for number in range(3)]
    assert one.got[0].headers["host"] == f"127.0.0.1:{one.port}"
    assert one.got[0].headers["content-length"] == "6"
    assert one.connections == 1


async def test_a_redirect_is_an_answer_and_is_not_followed(receiver, receivers):
    elsewhere = await receiver()
    one = await receiver(status=307, extra=(f"Location: {elsewhere.url}",))
    answer = await receivers().post(ENDPOINT, one.url, HEADERS, b"x")
    assert (answer.status, answer.success, answer.result) == (307, False, "3xx")
    assert elsewhere.connections == 0


async def test_retry_after_is_read(receiver, receivers):
    one = await receiver(status=429, extra=("Retry-After: 120",))
    assert (await receivers().post(ENDPOINT, one.url, HEADERS, b"x")).retry_after == 120
    one.extra = ("Retry-After: Wed, 21 Oct 2026 07:28:00 GMT",)
    assert (await receivers().post(ENDPOINT, one.url, HEADERS, b"x")).retry_after is None


async def test_of_an_answer_without_end_only_the_beginning_is_read(receiver, receivers):
    one = await receiver(said=b"\0ab" * READ_MOST)
    answer = await receivers().post(ENDPOINT, one.url, HEADERS, b"x")
    assert answer.status == 200
    assert len(answer.text) == SHOWN_MOST
    assert answer.text.startswith("\ufffdab"), "Postgres takes no NUL"


async def test_a_silent_receiver_is_a_timeout_whatever_it_sends_slowly(receiver, receivers):
    one = await receiver(delay=5)
    answer = await receivers(timeout=0.2).post(ENDPOINT, one.url, HEADERS, b"x")
    assert (answer.status, answer.trouble) == (0, "timeout")
    assert 0.2 <= answer.duration < 1

    async def drip(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answer = await receivers(timeout=0.3).post(ENDPOINT, f"http://127.0.0.1:{port}/", HEADERS, b"x")
    assert answer.trouble == "timeout"
    server.close()


async def test_nobody_there_is_unreachable_and_no_http_is_a_protocol_error(receivers):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    answer = await receivers().post(ENDPOINT, f"http://127.0.0.1:{port}/", HEADERS, b"x")
    assert (answer.status, answer.trouble) == (0, "unreachable")

    async def no_http(_reader, writer):
        writer.write(b"220 mail.example.test ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(no_http, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answer = await receivers().post(ENDPOINT, f"http://127.0.0.1:{port}/", HEADERS, b"x")
    assert (answer.status, answer.trouble) == (0, "protocol")
    server.close()


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["10.1.2.3"], ["169.254.169.254"], ["192.168.0.1"], ["100.64.0.1"], ["0.0.0.0"], ["::1"],
        ["fd00::1"], ["fe80::1%eth0"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["93.184.215.14", "127.0.0.1"],
    ],
)  # fmt: skip
async def test_an_address_that_is_not_everybodys_is_not_connected_to(receiver, receivers, addresses):
    one = await receiver()
    to = receivers(answers(addresses), private=False)
    answer = await to.post(ENDPOINT, f"http://hook.example.test:{one.port}/", HEADERS, b"x")
    assert (answer.status, answer.trouble) == (0, "private")
    assert one.connections == 0


async def test_an_address_in_the_url_is_looked_at_as_well(receiver, receivers):
    one = await receiver()
    for host in ("127.0.0.1", "[::1]", "localhost", "127.1", "0x7f.1"):
        answer = await receivers(private=False).post(ENDPOINT, f"http://{host}:{one.port}/", HEADERS, b"x")
        assert answer.trouble == "private", host
    assert one.connections == 0


async def test_a_second_answer_of_the_dns_is_looked_at_like_the_first(receiver, receivers, monkeypatch):
    """The name leads to a public address when it is asked first, and into our network afterwards."""
    monkeypatch.setattr("mailwarren.tracker.adapters.receivers.is_public", lambda one: str(one) == "127.0.0.1")
    one = await receiver(extra=("Connection: close",))
    to = receivers(answers(["127.0.0.1"], ["127.0.0.2"]), private=False)
    url = f"http://rebind.example.test:{one.port}/"
    first = await to.post(ENDPOINT, url, HEADERS, b"x")
    second = await to.post(ENDPOINT, url, HEADERS, b"x")
    assert (first.status, second.trouble) == (200, "private")
    assert len(one.got) == 1


async def test_the_connection_goes_to_the_address_that_was_checked(receiver, receivers):
    """One question for each connection: what a second one would say does not matter."""
    one, asked = await receiver(), []

    async def resolve(host, port):
        asked.append((host, port))
        return ["127.0.0.1"]

    answer = await receivers(resolve).post(ENDPOINT, f"http://once.example.test:{one.port}/", HEADERS, b"x")
    assert answer.status == 200
    assert asked == [("once.example.test", one.port)]
    assert one.got[0].headers["host"] == f"once.example.test:{one.port}"


async def test_the_next_address_is_tried_when_one_does_not_answer(receiver, receivers):
    one = await receiver()
    to = receivers(answers(["127.0.0.9", "127.0.0.1"]))
    assert (await to.post(ENDPOINT, f"http://two.example.test:{one.port}/", HEADERS, b"x")).status == 200


async def test_tls_is_verified_for_the_name_and_not_for_the_address(receiver, receivers, monkeypatch, tmp_path):
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("good.example.test").configure_cert(context)
    one = await receiver()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    to = receivers(answers(["127.0.0.1"]))
    good = await to.post(ENDPOINT, f"https://good.example.test:{port}/", HEADERS, b"x")
    bad = await to.post(ENDPOINT, f"https://evil.example.test:{port}/", HEADERS, b"x")
    assert (good.status, bad.trouble) == (200, "unreachable")
    assert len(one.got) == 1
    server.close()


async def test_connections_of_endpoints_that_are_gone_are_closed(receiver, receivers):
    one, to = await receiver(), receivers()
    await to.post(ENDPOINT, one.url, HEADERS, b"x")
    await to.keep_only([(ENDPOINT, one.url)])
    await to.post(ENDPOINT, one.url, HEADERS, b"x")
    assert one.connections == 1
    await to.keep_only([])
    await to.post(ENDPOINT, one.url, HEADERS, b"x")
    assert one.connections == 2


async def test_who_asks_for_one_name_shares_one_question(monkeypatch):
    asked = []

    def slow(host, port, **_):
        asked.append(host)
        import time

        time.sleep(0.2)
        if host == "gone.example.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    names = Names()
    found = await asyncio.gather(*(names("a.example.test", 443) for _ in range(50)))
    assert found == [["192.0.2.1"]] * 50
    assert asked == ["a.example.test"]
    results = await asyncio.gather(*(names("gone.example.test", 443) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in results] == [socket.gaierror] * 5
    names.close()
