"""The timeline: who stands in front when, told the time."""

from collections.abc import Callable
from typing import Any

import pytest

from mailwarren.sink.script import ScriptError, read_event, read_script
from mailwarren.sink.timeline import State, Timeline

Converse = Callable[..., Any]


def suspension(at: float, lasting: float | None = None, domain: str = "x.test") -> dict[str, Any]:
    event = {"at_s": at, "persona": {"like": "suspended", "domains": [domain]}}
    return event if lasting is None else event | {"for_s": lasting}


def timeline(*events: dict[str, Any], started_at: float = 1000.0) -> Timeline:
    return Timeline(read_script({"timeline": list(events)}).timeline, started_at)


def test_events_come_are_in_force_and_end() -> None:
    playing = timeline(suspension(60, 120))
    states = [playing.scheduled(now)[0].state for now in (1000.0, 1059.9, 1060.0, 1179.9, 1180.0)]
    assert states == [State.COMING, State.COMING, State.IN_FORCE, State.IN_FORCE, State.OVER]
    assert [playing.next_change(now) for now in (1000.0, 1060.0, 1180.0)] == [1060.0, 1180.0, None]
    shown = playing.scheduled(1000.0)[0]
    assert (shown.id, shown.starts_at, shown.ends_at) == (1, 1060.0, 1180.0)


def test_a_later_event_stands_in_front_of_an_earlier_one() -> None:
    playing = timeline(suspension(0, domain="a.test"), suspension(10, 5, domain="b.test"), suspension(0))
    names = [where for where, _ in playing.in_force(1012.0)]
    assert names == ["t2", "t3", "t1"]
    assert [where for where, _ in playing.in_force(1015.0)] == ["t3", "t1"]


def test_a_canceled_event_is_not_in_force_and_changes_nothing() -> None:
    playing = timeline(suspension(0), suspension(60, 60))
    assert playing.cancel(1) and playing.cancel(2) and not playing.cancel(3) and not playing.cancel(0)
    assert playing.in_force(1070.0) == [] and playing.next_change(1000.0) is None
    assert {one.state for one in playing.scheduled(1000.0)} == {State.CANCELED}


def test_suspend_us_for_two_minutes_a_minute_from_now(converse: Converse) -> None:
    client = converse({"timeline": [{"at_s": 60, "for_s": 120, "persona": {"like": "suspended", "hosts": ["127.*"]}}]})
    assert client.mail("b@y.test") == [250, 250, 354, 250]
    client.now += 59.9
    assert client.mail("b@y.test") == [250, 250, 354, 250]
    client.now += 0.1
    assert client.codes("MAIL FROM:<a@x.test>") == [421]
    assert client.wire.ended == ["close"]
    client.now += 120
    assert client.receiver.policy.takes_all
    assert client.stats.refused_by_stage["mail"] == 1


def test_what_is_in_force_is_shown_and_can_be_played_again(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["x.test"]}], "timeline": [suspension(0, 60), suspension(90)]})
    shown = client.receiver.shown()
    assert shown.now is not None
    assert [one["id"] for one in shown.now["in_force"]] == [1]
    assert [one["id"] for one in shown.now["coming"]] == [2]
    assert client.receiver.play(shown).now is None
    assert len(client.receiver.scheduled()) == 2


def test_attempts_are_remembered_across_events(converse: Converse) -> None:
    rule = {"stage": "rcpt", "code": 451, "first_attempts": 1}
    script = {"personas": [{"domains": ["x.test"], "rules": [rule]}], "timeline": [suspension(10, 5, "other.test")]}
    client = converse(script)
    assert client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<u@x.test>") == [250, 451]
    client.now += 11
    assert client.codes("RCPT TO:<u@x.test>") == [250]


def test_an_event_may_change_one_thing_of_a_persona_of_the_script() -> None:
    script = read_script({"personas": [{"name": "big", "domains": ["x.test"], "latency_ms": 5, "greylist_s": 9}]})
    event = read_event(b'{"for_s": 5, "persona": {"like": "big", "latency_ms": 900}}', script)
    assert (event.persona.domains, event.persona.latency_ms, event.persona.greylist_s) == (("x.test",), 900, 9)


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (b"{}", "missing required field `persona`"),
        (b'{"persona": {"like": "nobody"}}', "like is 'nobody', expected one of apple"),
        (b'{"persona": {"domains": ["x.test"]}, "for_s": 0}', "$.for_s"),
        (b'{"persona": {"domains": ["x.test"]}, "at_s": -1}', "$.at_s"),
        (b'{"persona": {"domains": ["x.test"]}, "for": 1}', "unknown field `for`"),
        (b"nonsense", "malformed"),
        (b"[]", "Expected `object`"),
    ],
)
def test_a_bad_event_is_refused_with_the_place_of_the_mistake(event: bytes, complaint: str) -> None:
    with pytest.raises(ScriptError) as refused:
        read_event(event, read_script({}))
    assert complaint in str(refused.value)
