import socket
import threading
from pathlib import Path

import pytest

from mailwarren.devstack.cluster.chart_run import at, setup_words
from mailwarren.devstack.cluster.manifests import Workload
from mailwarren.devstack.cluster.podman import Door, Podman
from mailwarren.devstack.errors import DevstackError


def test_a_door_passes_both_ways() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(client.recv(100).upper())

        threading.Thread(target=answer, daemon=True).start()
        door = Door("127.0.0.2", port)
        with socket.create_connection(("127.0.0.2", port), timeout=5) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
            assert client.recv(100) == b""
        door.close()


def test_a_door_to_nowhere_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    door = Door("127.0.0.2", port)
    with socket.create_connection(("127.0.0.2", port), timeout=5) as client:
        assert client.recv(100) == b""
    door.close()


def test_without_images_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match="make images-test"):
        Podman(tmp_path, "n")


def test_servers_are_reached_under_another_host() -> None:
    assert at("amqp://u:p@127.0.0.1:5672/v", "10.89.0.1") == "amqp://u:p@10.89.0.1:5672/v"
    assert at("http://127.0.0.1:80", "10.89.0.1") == "http://10.89.0.1:80"


def test_setup_keeps_its_arguments_but_for_the_secret() -> None:
    def job(*words: str) -> Workload:
        pod = {"spec": {"containers": [{"args": list(words)}]}}
        return Workload({"kind": "Job", "metadata": {"name": "j"}, "spec": {"template": pod}})

    assert setup_words(job("setup", "--owner-secret", "mw-owner", "--wait", "300")) == ["setup", "--wait", "300"]
    assert setup_words(job("setup", "--wait", "300")) == ["setup", "--wait", "300"]
