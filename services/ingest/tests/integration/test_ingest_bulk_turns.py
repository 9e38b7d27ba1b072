"""A bulk call whose templates are as heavy as they may be holds nobody else up."""

import threading
import time

import httpx
import pytest

HEAVY_SUBJECT = "{% set s = '<!---->' * 14000 %}{% for i in range(40) %}{{ s|striptags }}{% endfor %}x"
LONG_TEMPLATE = "{{ a + b + c + d }}" * 250


@pytest.fixture
def waits(server):
    """How long other requests waited, each, as long as the test runs."""
    found, stop = [], threading.Event()

    def ask():
        with httpx.Client(verify=False, timeout=60) as client:
            while not stop.is_set():
                begin = time.perf_counter()
                client.get(f"{server.root}/healthz")
                found.append(time.perf_counter() - begin)
                time.sleep(0.005)

    thread = threading.Thread(target=ask)
    thread.start()
    yield found
    stop.set()
    thread.join()


def bulk(rows, **content):
    recipients = [{"to": f"p{n}@example.test", "variables": dict.fromkeys("abcd", n)} for n in range(rows)]
    return {"from": "ada@sender.test", "subject": "x", "text": "x", "recipients": recipients} | content


def test_heavy_subjects(client, waits, queues):
    begin = time.perf_counter()
    answer = client.post("/emails/bulk", json=bulk(200, subject=HEAVY_SUBJECT))
    assert time.perf_counter() - begin < 5
    assert answer.status_code == 202
    assert "too much work" in answer.json()["errors"][199]["message"]
    assert max(waits) < 1


def test_long_templates(client, waits, queues):
    shares = []
    for number in range(5):
        # Other templates each time: they are kept once they are compiled.
        body = bulk(1, html=LONG_TEMPLATE + f"{number}", text=LONG_TEMPLATE + f"-{number}")
        waits.clear()
        begin = time.perf_counter()
        assert client.post("/emails/bulk", json=body).status_code == 202
        shares.append(max(waits) / (time.perf_counter() - begin))
    # All of the call's time when they are compiled in the loop.
    assert min(shares) < 0.5, shares
