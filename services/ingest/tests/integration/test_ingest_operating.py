"""Who is slowed down, who sends, what waits where, what was set aside: over HTTP, with real servers behind it."""

import json
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from mailwarren.contracts.codec import decode_control, decode_parcel, encode, encode_parcel, headers_of, parcel_headers
from mailwarren.contracts.egress import EgressState, Warming
from mailwarren.contracts.ids import new_id
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.shaping import Heartbeat, Override, OverrideEnd, Scope, Sighting, SiteState
from mailwarren.contracts.testing import a_parcel

NOBODY = "019b0000-0000-7000-8000-00000000ffff"


class Overrides:
    """Rows as the tracker writes them."""

    def __init__(self, place):
        self.place = place
        self.now = datetime.now(UTC)

    def row(self, *, name="yahoo", scope="site", since=-60, until=600, suspend=True, ended=None, **more):
        ident = new_id()
        values = {"connections": None, "rate": None, "cause": "rule:rate_limited", "sample": "421 later"} | more
        self.place.sql(
            "INSERT INTO shaping_overrides (id, scope, name, since, until, suspend, ended_at, ended_by, connections, "
            "rate, cause, sample) VALUES ($1, $2, $3, $4, $5, $6, $7, 'person:ada', $8, $9, $10, $11)",
            ident, scope, name, self.at(since), self.at(until), suspend, None if ended is None else self.at(ended),
            *values.values(),
        )  # fmt: skip
        return str(ident)

    def at(self, seconds):
        return self.now + timedelta(seconds=seconds)


@pytest.fixture
def overrides(place):
    place.sql("DELETE FROM shaping_overrides")
    yield Overrides(place)
    place.sql("DELETE FROM shaping_overrides")


def written(queues):
    """The newest entry of shaping in the control log, as the tracker gets it."""
    *_, last = queues.take(queues.topology.shaping_queue.name)
    return decode_control(_body(last), last.headers)


def _body(message):
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)


def test_a_person_suspends_a_site_and_every_sender_is_told(client, queues, place, caller):
    before = time.time()
    answer = client.post("/shaping", json={"name": "Yahoo", "suspend": True, "for": "2h", "reason": "they called"})
    assert answer.status_code == 201
    shown = answer.json()
    entry = written(queues)
    assert isinstance(entry, Override)
    assert (str(entry.id), entry.scope, entry.name, entry.suspend) == (shown["id"], Scope.SITE, "yahoo", True)
    assert (entry.cause, entry.sample) == ("person:test", "they called")
    assert entry.until - entry.since == pytest.approx(7200)
    assert before - 1 < entry.since < time.time() + 1
    assert (shown["in_force"], shown["suspend"], shown["connections"], shown["rate"]) == (True, True, None, None)


@pytest.mark.parametrize(
    ("wish", "rate", "connections"),
    [
        ({"rate": "10/min"}, 10 / 60, None),
        ({"rate": 0.5, "connections": 2}, 0.5, 2),
        ({"rate": "3600/h", "for": 90}, 1.0, None),
        ({"connections": 1}, None, 1),
    ],
)
def test_a_person_limits_a_site(client, queues, wish, rate, connections):
    body = {"scope": "site", "name": "d.test", "for": "30m"} | wish
    assert client.post("/shaping", json=body).status_code == 201
    entry = written(queues)
    assert (entry.rate, entry.connections, entry.suspend) == (pytest.approx(rate), connections, False)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"name": "yahoo", "for": "2h"}, "`suspend`, `rate` or `connections`"),
        ({"name": "yahoo", "suspend": False, "for": "2h"}, "`suspend`, `rate` or `connections`"),
        ({"name": "yahoo", "suspend": True, "rate": 1, "for": "2h"}, "`suspend` field cannot be used with `rate`"),
        ({"name": "yahoo", "suspend": True}, "Missing `for`"),
        ({"name": "yahoo", "suspend": True, "for": "25h"}, "`for`"),
        ({"name": "yahoo", "suspend": True, "for": "soon"}, "`for`"),
        ({"name": "yahoo", "suspend": True, "for": 0}, "`for`"),
        ({"name": "yahoo", "suspend": True, "for": "0s"}, "`for`"),
        ({"name": "yahoo", "suspend": True, "for": True}, "`for`"),
        ({"name": "yahoo", "rate": "fast", "for": "1h"}, "`rate`"),
        ({"name": "yahoo", "rate": "0/s", "for": "1h"}, "`rate`"),
        ({"name": "yahoo", "rate": -1, "for": "1h"}, "`rate`"),
        ({"name": "yahoo", "rate": 1e300, "for": "1h"}, "`rate`"),
        ({"name": "yahoo", "connections": 0, "for": "1h"}, "`connections`"),
        ({"name": "keeper", "suspend": True, "for": "1h"}, "`name`"),
        ({"name": "", "suspend": True, "for": "1h"}, "`name`"),
        ({"scope": "tenant", "name": "yahoo", "suspend": True, "for": "1h"}, "`name`"),
        ({"scope": "tenant", "name": NOBODY, "rate": 1, "for": "1h"}, "`rate` field is for sites"),
        ({"scope": "planet", "name": "yahoo", "suspend": True, "for": "1h"}, "`scope`"),
        ({"name": "yahoo", "suspend": True, "for": "1h", "reason": "a\nb"}, "`reason`"),
        ({"name": "yahoo", "suspend": True, "for": "1h", "reason": "x" * 301}, "`reason`"),
        ({"name": "yahoo", "suspend": True, "for": "1h", "until": 5}, "`until`"),
    ],
)
def test_a_wish_that_cannot_be_obeyed_names_its_field(client, body, named):
    answer = client.post("/shaping", json=body)
    assert answer.status_code == 422
    assert named in answer.json()["message"]


def test_what_holds_is_listed_newest_first_and_what_has_ended_on_demand(client, overrides):
    older = overrides.row(since=-100)
    newer = overrides.row(since=-50, scope="tenant", name=NOBODY)
    run_out = overrides.row(since=-500, until=-5)
    ended = overrides.row(since=-400, ended=-10)
    listed = client.get("/shaping").json()
    assert [one["id"] for one in listed["data"]] == [newer, older]
    assert listed["data"][1]["sample"] == "421 later"
    assert listed["has_more"] is False
    everything = client.get("/shaping", params={"past": "true"}).json()["data"]
    assert [one["id"] for one in everything] == [newer, older, ended, run_out]
    assert [one["in_force"] for one in everything] == [True, True, False, False]
    page = client.get("/shaping", params={"past": "true", "limit": 2, "after": newer}).json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == ([older, ended], True)
    back = client.get("/shaping", params={"limit": 5, "before": older}).json()
    assert [one["id"] for one in back["data"]] == [newer]
    for wrong in ({"past": "perhaps"}, {"after": NOBODY}, {"limit": 0}, {"page": 1}):
        assert client.get("/shaping", params=wrong).status_code == 422


def test_an_end_is_told_to_every_sender_and_only_once(client, queues, overrides):
    ident = overrides.row()
    assert client.delete(f"/shaping/{ident}").json() == {"object": "override", "id": ident, "deleted": True}
    entry = written(queues)
    assert isinstance(entry, OverrideEnd)
    assert (str(entry.id), entry.by) == (ident, "person:test")
    for gone in (overrides.row(ended=-5), overrides.row(until=-5)):
        refused = client.delete(f"/shaping/{gone}")
        assert (refused.status_code, "ended already" in refused.json()["message"]) == (422, True)
    assert client.delete(f"/shaping/{NOBODY}").status_code == 404
    assert client.delete("/shaping/yahoo").status_code == 422


def a_beat(**changes):
    values = {
        "sender": uuid4(), "host": "sender-0", "fleet": "bulk", "version": "1.0", "started_at": 1_764_000_000.0,
        "at": time.time(), "queues": (), "in_flight": 3, "limit": 500, "waiting": 7, "mails_10s": 25,
    }  # fmt: skip
    return Heartbeat(**(values | changes))


@pytest.fixture
def tell(queues):
    """Publishes as senders do to all."""
    leaving = []

    def say(notice):
        if isinstance(notice, Heartbeat):
            leaving.append(notice.sender)
        message = queues.channel.prepare_message(encode(notice), headers=headers_of(notice))
        queues.channel.basic_publish(message, queues.topology.control.name, "")

    yield say
    for sender in tuple(leaving):
        say(a_beat(sender=sender, leaving=True))


def test_senders_are_those_whose_heartbeats_are_heard(client, queues, tell, wait_until, overrides):
    bulk = queues.topology.send_queue(Lane.BULK, "yahoo").name
    held = overrides.row(suspend=False, rate=0.5)
    one = a_beat(queues=(bulk,), sites=(SiteState("yahoo", open=2, busy=1, waiting=5, slots=2, rate_10s=1.5),))
    two = a_beat(
        host="sender-1",
        tls_broken=("mx.d.test[192.0.2.9]:25",),
        egresses=(EgressState("out1", "out1.test", ("192.0.2.1",), warming=(Warming("other", 50, 7),)),),
        sites=(SiteState("yahoo", open=1, slots=1), SiteState("d.test", waiting=9)),
    )
    tell(Sighting("yahoo", None, "slow", 1.0, 1, "421"))
    for beat in (one, two):
        tell(beat)
    wait_until(lambda: len(client.get("/senders").json()["data"]) == 2)
    listed = client.get("/senders").json()
    assert [(row["id"], row["host"], row["in_flight"], row["rate"]) for row in listed["data"]] == [
        (str(one.sender), "sender-0", 3, 2.5),
        (str(two.sender), "sender-1", 3, 2.5),
    ]
    assert listed["data"][0]["queues"] == [bulk]
    assert [row["tls_broken"] for row in listed["data"]] == [[], ["mx.d.test[192.0.2.9]:25"]]
    assert [row["egresses"] for row in listed["data"]] == [[], ["out1"]]
    assert listed["egresses"] == [
        {
            "name": "out1", "helo": "out1.test", "addresses": ["192.0.2.1"], "senders": 1, "open": True, "problems": [],
            "warming": [{"site": "other", "limit": 50, "taken": 7}],
        }
    ]  # fmt: skip
    sites = client.get("/shaping").json()["sites"]
    assert [site["name"] for site in sites] == ["d.test", "yahoo"]
    assert sites[1] == {
        "name": "yahoo", "open": 3, "busy": 1, "waiting": 5, "slots": 3, "rate": 1.5, "senders": 2,
        "overrides": [held],
    }  # fmt: skip
    tell(a_beat(sender=one.sender, leaving=True))
    wait_until(lambda: [row["id"] for row in client.get("/senders").json()["data"]] == [str(two.sender)])


def test_garbage_among_the_heartbeats_is_passed_over(client, queues, tell, wait_until):
    for body, headers in ((b"\xff", {}), (b"{}", {"mw-version": 1}), (b"{}", {"mw-version": 99})):
        queues.channel.basic_publish(
            queues.channel.prepare_message(body, headers=headers), queues.topology.control.name, ""
        )
    beat = a_beat()
    tell(beat)
    wait_until(lambda: [row["id"] for row in client.get("/senders").json()["data"]] == [str(beat.sender)])


def test_queues_say_what_waits_and_whether_it_flows(client, queues, mail, overrides, wait_until):
    found = {row["name"]: row for row in client.get("/queues").json()["data"]}
    high = queues.topology.send_queue(Lane.HIGH, "yahoo").name
    assert (found[high]["messages"], found[high]["state"], found[high]["kind"]) == (0, "flowing", "send")
    assert (found[high]["lane"], found[high]["shard"]) == ("high", "yahoo")
    rung = queues.topology.rung_queues[0].name
    assert (found[rung]["kind"], found[rung]["state"]) == ("ladder", "waiting")
    assert not [name for name in found if "slots." in name or "control" in name]
    for to in ("bob@yahoo.com", "bob@gmail.com"):
        assert client.post("/emails", json=mail | {"to": to, "priority": "high"}).status_code == 200
    overrides.row()

    def state(name):
        row = {row["name"]: row for row in client.get("/queues").json()["data"]}[name]
        return row["messages"], row["consumers"], row["state"]

    google = queues.topology.send_queue(Lane.HIGH, "google").name
    wait_until(lambda: state(google) == (1, 0, "stuck"))
    assert state(high) == (1, 0, "paused")


def test_a_queue_that_is_not_there_is_missing_and_the_others_are_told(client, queues):
    queue = queues.topology.rung_queues[-1]
    queues.channel.queue_delete(queue.name)
    try:
        time.sleep(1.1)  # what was seen a moment ago is told again
        found = {row["name"]: row for row in client.get("/queues").json()["data"]}
    finally:
        queue(queues.channel).declare()
    assert (found[queue.name]["messages"], found[queue.name]["state"]) == (None, "missing")
    assert sum(row["state"] == "missing" for row in found.values()) == 1


class Dead:
    """Dead letters as senders and the broker make them."""

    def __init__(self, queues, prefix):
        self.queues, self.channel, self.prefix = queues, queues.channel, prefix

    def park(self, parcel, key="normal.google", exchange="mail.send"):
        why = {"mw-reason": "KeyError", "mw-from": f"{self.prefix}send.{key}", "mw-key": key,
               "mw-exchange": f"{self.prefix}{exchange}" if exchange else ""}  # fmt: skip
        message = self.channel.prepare_message(encode_parcel(parcel), headers=parcel_headers(parcel) | why)
        self.channel.basic_publish(message, self.queues.topology.dead.name, key)

    def depth(self):
        return self.channel.queue_declare(self.queues.topology.dead_queue.name, passive=True).message_count


@pytest.fixture
def dead(queues, place):
    return Dead(queues, place.prefix)


def test_dead_letters_are_listed_shown_and_replayed(client, queues, dead, wait_until):
    parcels = [a_parcel(to=(f"p{n}@gmail.com",), shard="google") for n in range(3)]
    for parcel in parcels:
        dead.park(parcel)
    wait_until(lambda: dead.depth() == 3)
    listed = client.get("/dead").json()["data"]
    assert [(one["number"], one["parcel"]) for one in listed] == [
        (number, str(parcel.id)) for number, parcel in enumerate(parcels, start=1)
    ]
    assert "gmail" not in json.dumps(listed)
    assert [one["number"] for one in client.get("/dead", params={"limit": 1}).json()["data"]] == [1]
    shown = client.get(f"/dead/{listed[1]['id']}").json()
    assert (shown["to"][0]["to"], shown["from"]) == ("p1@gmail.com", f"{dead.prefix}send.normal.google")
    assert shown["headers"]["mw-reason"] == "KeyError"
    wait_until(lambda: dead.depth() == 3)
    answer = client.post("/dead/replay", json={"ids": [listed[2]["id"], listed[1]["id"], listed[1]["id"]]})
    assert answer.json() == {"object": "replay", "replayed": 2, "left": 1}
    again = [
        decode_parcel(_body(one), one.headers)
        for one in queues.take(queues.topology.send_queue(Lane.NORMAL, "google").name)
    ]
    assert {(one.id, one.settle, one.turn) for one in again} == {(one.id, True, 1) for one in parcels[1:]}
    assert client.get(f"/dead/{listed[1]['id']}").status_code == 404
    assert client.post("/dead/replay", json={"ids": [listed[1]["id"]]}).status_code == 404
    assert client.post("/dead/replay", json={"all": True}).json()["replayed"] == 1
    assert client.get("/dead").json()["data"] == []


def test_a_dead_letter_that_nobody_takes_stays(client, dead, wait_until):
    dead.park(a_parcel(), key="normal.nowhere", exchange="mail.accept")
    dead.park(a_parcel(), exchange="")
    wait_until(lambda: dead.depth() == 2)
    first, second = [one["id"] for one in client.get("/dead").json()["data"]]
    for ident, why in ((first, "was not taken"), (second, "only an administrator")):
        refused = client.post("/dead/replay", json={"ids": [ident]})
        assert (refused.status_code, why in refused.json()["message"]) == (422, True)
        wait_until(lambda: dead.depth() == 2)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/dead?limit=0", None),
        ("GET", "/dead?limit=1001", None),
        ("GET", "/dead?kind=parrots", None),
        ("GET", "/dead?after=3", None),
        ("GET", "/dead/7", None),
        ("POST", "/dead/replay", {}),
        ("POST", "/dead/replay", {"ids": []}),
        ("POST", "/dead/replay", {"ids": [NOBODY], "all": True}),
        ("POST", "/dead/replay", {"ids": ["seven"]}),
        ("POST", "/dead/replay", {"all": False}),
    ],
)
def test_what_is_asked_for_wrongly_is_named(client, method, path, body):
    answer = client.request(method, path, json=body)
    assert answer.status_code == 422
    assert answer.json()["name"] in ("invalid_parameter", "validation_error", "missing_required_field")


def test_a_key_that_may_only_send_operates_nothing(server, new_caller):
    with server.client(new_caller("sending_access").token) as client:
        for method, path in (
            ("GET", "/shaping"), ("POST", "/shaping"), ("DELETE", f"/shaping/{NOBODY}"), ("GET", "/queues"),
            ("GET", "/senders"), ("GET", "/dead"), ("GET", f"/dead/{NOBODY}"), ("POST", "/dead/replay"),
            ("GET", f"/emails/{NOBODY}/explain"),
        ):  # fmt: skip
            assert client.request(method, path, json={} if method == "POST" else None).status_code == 401
