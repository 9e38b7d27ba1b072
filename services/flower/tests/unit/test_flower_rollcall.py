"""Who answers is told, and who is new is looked at; a broker that is away is no reason to end."""

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from mailwarren.flower.main import configured
from mailwarren.flower.rollcall import RollCall, heartbeat
from mailwarren.flower.settings import FlowerSettings


class Board:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.looked: list[str] = []

    def seen(self, event: dict[str, Any]) -> None:
        self.told.append(event["hostname"])

    def look_at(self, worker: str) -> None:
        self.looked.append(worker)


def test_who_answers_is_told_each_time_and_looked_at_once() -> None:
    board, answers = Board(), iter([["b", "a"], ["a"], ["a", "b"]])
    calls = RollCall(lambda: next(answers), board, "amqp://broker", 10)
    for _ in range(3):
        calls.call()
    assert board.told == ["a", "b", "a", "a", "b"]
    assert board.looked == ["a", "b", "b"]
    assert calls.trouble is None


def test_trouble_with_the_broker_is_a_reason_without_a_password() -> None:
    def away() -> list[str]:
        raise ConnectionRefusedError("no amqp://u:secret-word@broker")

    calls = RollCall(away, Board(), "amqp://u:secret-word@broker", 10)
    calls.call()
    assert "no broker at broker:5672" in str(calls.trouble)
    assert "secret-word" not in str(calls.trouble)


def test_flower_takes_the_event_for_a_heartbeat() -> None:
    from celery.events.state import State

    state = State()
    state.event(heartbeat("bulk@host", 1_000_000.0, 10))
    worker = state.workers["bulk@host"]
    assert worker.heartbeat_expires == 1_000_020.0
    assert not worker.alive


@pytest.mark.parametrize("login", ["", "user", ":password", "user:short"])
def test_there_is_no_flower_without_a_login(login: str) -> None:
    with pytest.raises(ValidationError, match="flower_auth"):
        FlowerSettings(flower_auth=SecretStr(login))


def test_it_is_read_only_and_leaves_events_alone() -> None:
    class Options:
        pass

    options = configured(Options(), FlowerSettings(flower_auth=SecretStr("me:long-enough"), flower_path="/ops/flower/"))
    assert options.read_only is True
    assert options.enable_events is False
    assert options.basic_auth == ["me:long-enough"]
    assert options.url_prefix == "ops/flower"
