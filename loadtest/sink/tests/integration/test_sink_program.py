"""The program: start, ready file, signals, wrong arguments; and a client that is killed at the worst moment."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import trustme

PROGRAM = str(Path(sys.executable).with_name("mailwarren-sink"))


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    ready = folder / "ready.json"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "--ready-file", str(ready), *arguments], stderr=log)
    try:
        deadline = time.monotonic() + 15
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
        yield process, json.loads(ready.read_text())
    finally:
        process.kill()
        process.wait()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def stats_of(ready: dict[str, Any]) -> dict[str, Any]:
    return httpx.get(ready["http"] + "/stats", trust_env=False).json()


def stats_when(ready: dict[str, Any], reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while not reached(stats := stats_of(ready)):
        assert time.monotonic() < deadline, stats
        time.sleep(0.01)
    return stats


def test_it_says_when_and_where_it_is_ready_and_stops_on_sigterm(tmp_path: Path) -> None:
    with running(tmp_path, "--smtp-extra", "127.0.0.1:0", "--smtp-extra", "127.0.0.1:0") as (process, ready):
        assert process.pid == ready["pid"]
        assert len(ready["smtp_extra"]) == 2
        with contextlib.ExitStack() as open_connections:
            for address in (ready["smtp"], *ready["smtp_extra"]):
                client = open_connections.enter_context(connect(address))
                assert client.recv(100)[:4] == b"220 "
            assert stats_of(ready)["connections"] == 3
            process.send_signal(signal.SIGTERM)
            assert client.recv(100) == b"421 4.3.2 Sink is stopping\r\n"
            assert client.recv(100) == b""
        assert process.wait(10) == 0
    assert [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()] == [
        "sink.ready",
        "sink.stopped",
    ]


CLIENT = """
import socket, sys, time
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
reader = client.makefile("rb")
def ask(text, replies):
    client.sendall(text.encode())
    for _ in range(replies):
        while reader.readline()[3:4] == b"-": pass
ask("", 1)
ask("EHLO x\\r\\n", 1)
for n in range(3):
    ask("MAIL FROM:<a@x.test>\\r\\nRCPT TO:<u@%s>\\r\\nDATA\\r\\n" % ("slow.test" if n == 2 else "y.test"), 3)
    ask("Message-ID: <%d@x>\\r\\n\\r\\nhi\\r\\n.\\r\\n" % n, 0 if n == 2 else 1)
print("dot", flush=True)
time.sleep(60)
"""


def test_a_client_killed_between_its_final_dot_and_the_answer_is_on_record(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"personas": [{"domains": ["slow.test"], "dot_latency_ms": 20_000}]}))
    with running(tmp_path, "--script", str(script)) as (_, ready):
        host, _, port = ready["smtp"].rpartition(":")
        client = subprocess.Popen([sys.executable, "-c", CLIENT, host, port], stdout=subprocess.PIPE)
        assert client.stdout is not None
        with client.stdout:
            assert client.stdout.readline() == b"dot\n"
        stats_when(ready, lambda stats: stats["received"] == 3)
        client.kill()
        client.wait()
        killed_at = time.time()
        stats = stats_when(ready, lambda stats: stats["pending"] == 0)
        assert tuple(stats[key] for key in ("received", "accepted", "unanswered", "pending")) == (3, 2, 1, 0)
        records = [
            json.loads(line) for line in httpx.get(ready["http"] + "/records", trust_env=False).text.splitlines()
        ]
        assert [record["message_id"] for record in records] == ["<0@x>", "<1@x>", "<2@x>"]
        assert records[2]["answered_at"] is None
        assert records[2]["received_at"] < killed_at


def test_tls_and_auth_from_the_command_line(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with running(tmp_path, *files, "--auth", "joe:se:cret") as (_, ready), connect(ready["smtp"]) as client:
        reader = client.makefile("rb")
        reader.readline()
        client.sendall(b"EHLO x\r\nMAIL FROM:<a@x.test>\r\n")
        seen = b""
        while b"\n530 " not in seen:
            seen += reader.readline()
        assert b"STARTTLS" in seen and b"AUTH" not in seen.replace(b"Authentication", b"")


def test_hosts_modes_and_toml_from_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text('[[personas]]\nlike = "suspended"\nhosts = ["mx.big.test"]\n')
    mx = ["--mx", "MX.big.test=127.0.0.2:0", "--mx", "mx.small.test=127.0.0.3:0"]
    with running(tmp_path, "--script", str(script), "--mode", "counting", "--tls", *mx) as (_, ready):
        assert set(ready["mx"]) == {"mx.big.test", "mx.small.test"}
        with connect(ready["mx"]["mx.big.test"]) as refused, connect(ready["mx"]["mx.small.test"]) as greeted:
            assert refused.recv(200)[:10] == b"421 4.7.0 "
            assert greeted.recv(200) == b"220 mx.small.test ESMTP Mailwarren sink\r\n"
        assert httpx.get(ready["http"] + "/records", trust_env=False).status_code == 409
        assert httpx.get(ready["http"] + "/ca.pem", trust_env=False).text.startswith("-----BEGIN CERTIFICATE-----")


def test_a_foreign_address_is_explained() -> None:
    run = subprocess.run([PROGRAM, "--smtp", "192.0.2.1:0"], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert "cannot listen on 192.0.2.1:0" in run.stderr and "Traceback" not in run.stderr


def test_a_taken_address_is_explained(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        run = subprocess.run([PROGRAM, "--http", address], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert f"cannot listen on {address}" in run.stderr and "Traceback" not in run.stderr
