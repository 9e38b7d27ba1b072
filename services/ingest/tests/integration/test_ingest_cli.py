"""The `mailwarren` command against real servers: what it prints, and its exit status."""

import json

import pytest

from mailwarren.contracts.codec import decode_keeper, decode_parcel, encode_parcel, parcel_headers
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Syntax
from mailwarren.contracts.testing import a_parcel
from mailwarren.contracts.topology import Topology
from mailwarren.devstack.broker_names import delete_prefixed
from mailwarren.ingest.cli import main


@pytest.fixture
def run(place, monkeypatch, capsys):
    monkeypatch.setenv("MAILWARREN_AMQP_URL", place.amqp_url)
    monkeypatch.setenv("MAILWARREN_DATABASE_URL", place.database_url)
    monkeypatch.setenv("MAILWARREN_AMQP_PREFIX", place.prefix)
    monkeypatch.setenv("MAILWARREN_RETRY_SCALE", "0.01")

    def call(*arguments):
        capsys.readouterr()
        status = main(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def lines(output):
    return [json.loads(line) for line in output.splitlines()]


def test_topology_apply_may_be_repeated_and_names_what_differs(run, place, queues):
    assert run("topology", "apply")[0] == 0
    queue = queues.topology.send_queue(Lane.BULK, "yahoo")
    queues.channel.queue_delete(queue.name)
    queues.channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})
    status, _, error = run("topology", "apply")
    assert status == 1
    assert queue.name in error
    assert "inequivalent" in error
    queues.channel.queue_delete(queue.name)
    assert run("topology", "apply")[0] == 0


def test_an_operators_sites_get_slots_and_the_keeper_has_its_message(run, place, queues, tmp_path):
    file = tmp_path / "shaping.toml"
    file.write_text('[default]\nconnections = 3\n[sites."d.test"]\nmx = [".d.test"]\n[sites.google]\nidle = 5\n')
    for _ in range(2):
        assert run("topology", "apply", "--shaping", str(file))[0] == 0
    slots = {item["name"]: item["messages"] for item in lines(run("queues", "--json")[1]) if "slots." in item["name"]}
    assert slots[f"{place.prefix}slots.google"] == slots[f"{place.prefix}slots.google.high"] == 0
    keeper = queues.topology.keeper_queue.name
    assert queues.channel.queue_declare(keeper, passive=True).message_count == 1
    message = next(queues.follow(keeper))
    assert decode_keeper(bytes(message.body), message.headers).at > 0
    queue = Topology(place.prefix, sites=("d.test",)).slot_queue("d.test", high=True)
    assert queues.channel.queue_declare(queue.name, passive=True).message_count == 0
    for name in (queue.name, queue.name.removesuffix(".high")):
        queues.channel.queue_delete(name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[sites.keeper]", "[sites.keeper] is a name that the queues of slots need"),
        ("[sites.'a b']", "[sites.a b] is not the name of a site"),
        ("sites = 5", "[sites] is not a table"),
        ("[sites", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_shaping_rules_without_usable_sites_are_refused_before_anything_is_declared(run, tmp_path, text, why):
    file = tmp_path / "shaping.toml"
    if text is not None:
        file.write_text(text)
    status, output, error = run("topology", "apply", "--shaping", str(file))
    assert (status, output) == (1, "")
    assert why in error


def test_without_a_broker_the_reason_is_said(run, monkeypatch):
    monkeypatch.setenv("MAILWARREN_AMQP_URL", "amqp://user:secret@127.0.0.1:1/x")
    for command in (["topology", "apply", "--wait", "0"], ["queues", "--wait", "0"], ["dead", "list"]):
        status, _, error = run(*command)
        assert status == 1
        assert "no broker" in error
        assert "secret" not in error


def test_wrong_settings_are_named_without_their_value(run, monkeypatch):
    monkeypatch.setenv("MAILWARREN_DATABASE_URL", "mysql://user:secret@x/y")
    status, _, error = run("migrate")
    assert status == 1
    assert "database_url" in error
    assert "secret" not in error


def test_queues_shows_depths(run, client, queues, mail):
    client.post("/emails", json=mail | {"to": "bob@gmail.com"})
    name = queues.topology.send_queue(Lane.NORMAL, "google").name
    depths = {item["name"]: item["messages"] for item in lines(run("queues", "--json")[1])}
    assert depths[name] == 1
    assert len(depths) == len(queues.topology.all_queues)
    assert name in run("queues")[1]


def test_topology_show_prints_what_apply_declares(run):
    shown = lines(run("topology", "show")[1])
    assert sum("queue" in item for item in shown) == len(Topology(retry_scale=0.01).all_queues)


def test_a_bootstrapped_key_works_and_a_given_token_is_installed_once(run, server, place, queues, mail, monkeypatch):
    assert run("migrate")[0] == 0
    first = lines(run("keys", "bootstrap", "--name", "one", "--domain", "sender.test")[1])[-1]
    with server.client(first["token"]) as client:
        assert client.post("/emails", json=mail).status_code == 200
        assert client.post("/emails", json=mail | {"from": "a@other.test"}).status_code == 403
        assert client.get("/api-keys").json()["data"][0]["id"] == first["id"]
    monkeypatch.setenv("BOOT", "mw_" + "a1B2" * 8)
    given = [lines(run("keys", "bootstrap", "--name", "two", "--token-env", "BOOT")[1])[-1] for _ in range(2)]
    assert given[0] == given[1]
    assert len(place.sql("SELECT id FROM tenants")) == 1
    monkeypatch.setenv("BOOT", "short")
    assert run("keys", "bootstrap", "--name", "two", "--token-env", "BOOT")[0] == 1
    assert run("keys", "bootstrap", "--name", "", "--wait", "0")[0] == 1


def test_send_posts_a_mail(run, server, caller, queues, monkeypatch):
    arguments = ("send", "--from", "ada@sender.test", "--to", "bob@example.test", "--priority", "high")
    status, _, error = run(*arguments)
    assert (status, "MAILWARREN_API_URL" in error) == (1, True)
    monkeypatch.setenv("MAILWARREN_API_URL", server.url)
    monkeypatch.setenv("MAILWARREN_API_KEY", caller.token)
    email_id = lines(run(*arguments)[1])[0]["id"]
    [parcel] = queues.parcels()
    assert (str(parcel.deliveries[0].email_id), parcel.lane) == (email_id, Lane.HIGH)
    assert parcel.content.syntax is Syntax.LITERAL
    assert "`to`" in run("send", "--from", "ada@sender.test", "--to", "bob")[2]
    monkeypatch.setenv("MAILWARREN_API_URL", "http://127.0.0.1:1/v1")
    assert run(*arguments)[0] == 1


class Dead:
    """Puts messages into mail.dead as senders and the broker do."""

    def __init__(self, queues):
        self.queues = queues
        self.channel = queues.channel

    def parked(self, body, headers, key="normal.google", **why):
        message = self.channel.prepare_message(body, content_type="application/json", content_encoding="utf-8",
                                               headers=headers | why)  # fmt: skip
        self.channel.basic_publish(message, self.queues.topology.dead.name, key)

    def depth(self):
        return self.channel.queue_declare(self.queues.topology.dead_queue.name, passive=True).message_count


def reason(place, key="normal.google"):
    return {
        "mw-reason": "KeyError: 'x'", "mw-from": f"{place.prefix}send.{key}",
        "mw-exchange": f"{place.prefix}mail.accept", "mw-key": key,
    }  # fmt: skip


def test_dead_letters_are_listed_shown_and_replayed_to_be_settled(run, place, queues, wait_until):
    dead = Dead(queues)
    parcels = [
        a_parcel(to=("bob@gmail.com",), shard="google"),
        a_parcel(to=("carol@gmail.com",), shard="google", turn=4),
    ]
    for parcel in parcels:
        dead.parked(encode_parcel(parcel), parcel_headers(parcel), **reason(place))
    wait_until(lambda: dead.depth() == 2)
    listed = lines(run("dead", "list")[1])
    assert [item["parcel"] for item in listed] == [str(parcel.id) for parcel in parcels]
    assert listed[0]["reason"] == "KeyError: 'x'"
    assert listed[0]["replay_to"] == f"{place.prefix}mail.accept normal.google"
    assert "bob@gmail.com" not in json.dumps(listed)
    wait_until(lambda: dead.depth() == 2)
    assert lines(run("dead", "show", "2")[1])[0]["to"][0]["to"] == "carol@gmail.com"
    assert run("dead", "show", "3")[0] == 1
    wait_until(lambda: dead.depth() == 2)
    assert run("dead", "replay", "2")[:2] == (0, "replayed 1\n")
    [message] = queues.take(queues.topology.send_queue(Lane.NORMAL, "google").name)
    again = decode_parcel(message.body.encode(), message.headers)
    assert (again.id, again.settle, again.turn) == (parcels[1].id, True, 5)
    assert not {name for name in message.headers if name.startswith("mw-")} - {"mw-version", "mw-type"}
    assert len(queues.recorded()) == 1
    wait_until(lambda: dead.depth() == 1)
    assert run("dead", "replay", "--all")[0] == 0
    wait_until(lambda: dead.depth() == 0)
    assert run("dead", "replay", "--all")[1] == "there are no dead letters\n"


@pytest.fixture
def over_api(server, caller, monkeypatch):
    """The commands call the API."""
    monkeypatch.setenv("MAILWARREN_API_URL", server.url)
    monkeypatch.setenv("MAILWARREN_API_KEY", caller.token)
    # Nothing of it is asked directly.
    monkeypatch.setenv("MAILWARREN_AMQP_URL", "amqp://nobody@127.0.0.1:1/x")


def test_over_the_api_dead_letters_look_the_same(run, place, queues, wait_until, over_api):
    dead = Dead(queues)
    parcels = [a_parcel(to=(f"p{number}@gmail.com",), shard="google") for number in range(3)]
    for parcel in parcels:
        dead.parked(encode_parcel(parcel), parcel_headers(parcel), **reason(place))
    wait_until(lambda: dead.depth() == 3)
    listed = lines(run("dead", "list")[1])
    assert [item["parcel"] for item in listed] == [str(parcel.id) for parcel in parcels]
    assert {"number", "reason", "from", "replay_to", "bytes", "deliveries", "attempt"} < set(listed[0])
    some = lines(run("dead", "list", "--limit", "2")[1])
    assert [item["parcel"] for item in some] == [str(parcel.id) for parcel in parcels[:2]]
    assert lines(run("dead", "show", "2")[1])[0]["to"][0]["to"] == "p1@gmail.com"
    status, _, error = run("dead", "show", "4")
    assert (status, "there is no dead letter 4; there are 3" in error) == (1, True)
    assert run("dead", "replay", "3", "1")[:2] == (0, "replayed 2\n")
    assert run("dead", "replay", "--all")[1] == "replayed 1\n"
    assert run("dead", "replay", "--all")[1] == "there are no dead letters\n"
    taken = queues.parcels(queues.topology.send_queue(Lane.NORMAL, "google").name)
    assert {parcel.id for parcel in taken} == {parcel.id for parcel in parcels}
    assert run("dead", "--ops", "list")[:2] == run("dead", "--unrouted", "list")[:2] == (0, "")


def test_over_the_api_queues_say_how_they_stand(run, queues, over_api):
    rows = {row["name"]: row for row in lines(run("queues", "--json")[1])}
    name = queues.topology.send_queue(Lane.NORMAL, "google").name
    assert (rows[name]["messages"], rows[name]["state"]) == (0, "flowing")
    head, *shown = run("queues")[1].splitlines()
    assert head.split() == ["queue", "messages", "consumers", "change/s", "state"]
    assert len(shown) == len(rows)
    assert run("senders")[0] == 0
    assert run("egress")[:2] == (0, "egress  helo  addresses  senders  open  sent today of its warm-up\n")
    assert run("egress", "--json")[:2] == (0, "")
    assert "no broker" in run("queues", "--broker", "--wait", "0")[2]


def test_a_site_is_suspended_limited_and_set_free_from_the_command_line(run, queues, place, over_api):
    made = lines(run("shaping", "suspend", "yahoo", "--for", "2h", "--reason", "they called")[1])[0]
    assert (made["suspend"], made["sample"], made["scope"]) == (True, "they called", "site")
    limited = lines(run("shaping", "limit", "d.test", "--for", "30m", "--rate", "10/min", "--connections", "1")[1])[0]
    assert (limited["rate"], limited["connections"]) == (pytest.approx(1 / 6), 1)
    status, _, error = run("shaping", "limit", "d.test", "--for", "30m")
    assert (status, "`suspend`, `rate` or `connections`" in error) == (1, True)
    # What the tracker makes of it.
    place.sql("DELETE FROM shaping_overrides")
    place.sql(
        "INSERT INTO shaping_overrides (id, scope, name, since, until, rate, connections, cause) "
        "VALUES ($1, 'site', 'd.test', now(), now() + interval '1 h', 0.5, 1, 'person:test')",
        limited["id"],
    )
    head, line, *_ = run("shaping", "list")[1].splitlines()
    assert head.split() == ["id", "scope", "name", "what", "until", "cause", "sample"]
    assert "30 mails/min, 1 connections" in line
    assert lines(run("shaping", "list", "--json", "--past")[1])[0]["id"] == limited["id"]
    assert run("shaping", "end", limited["id"])[1] == f"ended {limited['id']}\n"
    assert "404" in run("shaping", "end", made["id"])[2]
    assert len(queues.take(queues.topology.shaping_queue.name)) >= 3
    place.sql("DELETE FROM shaping_overrides")


def test_without_an_api_the_variables_are_named(run):
    for command in (["senders"], ["shaping", "list"], ["shaping", "end", "x"]):
        status, _, error = run(*command)
        assert (status, "MAILWARREN_API_URL" in error) == (1, True)


def test_what_cannot_be_read_is_shown_and_replayed_as_it_was(run, place, queues, wait_until):
    dead = Dead(queues)
    dead.parked(b'{"not": "a parcel"}', {"mw-type": "parcel"}, **reason(place))
    wait_until(lambda: dead.depth() == 1)
    assert lines(run("dead", "show", "1")[1])[0]["body"] == '{"not": "a parcel"}'
    assert run("dead", "replay", "1")[0] == 0
    [message] = queues.take(queues.topology.send_queue(Lane.NORMAL, "google").name)
    assert message.body == '{"not": "a parcel"}'


def test_what_the_broker_dead_lettered_goes_back_by_its_x_death(run, queues, wait_until):
    parcel = a_parcel(to=("bob@gmail.com",), shard="google")
    death = {
        "x-death": [
            {"queue": "send", "reason": "delivery_limit", "exchange": queues.topology.send.name,
             "routing-keys": ["normal.google.40ms.3"], "count": 1},
        ],
        "x-first-death-queue": "send",
    }  # fmt: skip
    dead = Dead(queues)
    dead.parked(encode_parcel(parcel), parcel_headers(parcel) | death)
    wait_until(lambda: dead.depth() == 1)
    assert lines(run("dead", "list")[1])[0]["reason"] == "delivery_limit"
    assert run("dead", "replay", "1")[0] == 0
    [message] = queues.take(queues.topology.send_queue(Lane.NORMAL, "google").name)
    assert "x-death" not in message.headers
    assert queues.recorded() == []


def test_unrouted_mail_goes_back_to_the_send_queues_under_its_key(run, queues, wait_until):
    parcel = a_parcel(to=("bob@gmail.com",), shard="google")
    queue = queues.topology.send_queue(Lane.NORMAL, "google")
    key = "normal.google.40ms.3"
    queues.channel.queue_unbind(queue.name, queues.topology.send.name, "normal.google.#")
    message = queues.channel.prepare_message(encode_parcel(parcel), headers=parcel_headers(parcel))
    queues.channel.basic_publish(message, queues.topology.send.name, key)
    wait_until(lambda: len(lines(run("dead", "--unrouted", "list")[1])) == 1)
    listed = lines(run("dead", "--unrouted", "list")[1])
    assert listed[0]["replay_to"] == f"{queues.topology.send.name} {key}"
    queue(queues.channel).declare()
    wait_until(lambda: run("dead", "--unrouted", "replay", "--all")[1] == "replayed 1\n")
    [again] = queues.parcels(queue.name)
    assert (again.id, again.settle) == (parcel.id, True)
    assert run("dead", "--unrouted", "list")[1] == ""


def test_a_replay_that_nobody_takes_leaves_the_message(run, place, queues, wait_until):
    dead = Dead(queues)
    parcel = a_parcel()
    dead.parked(encode_parcel(parcel), parcel_headers(parcel), **reason(place, "normal.nowhere"))
    wait_until(lambda: dead.depth() == 1)
    status, _, error = run("dead", "replay", "1")
    assert (status, "was not taken" in error) == (1, True)
    wait_until(lambda: dead.depth() == 1)
    dead.parked(encode_parcel(parcel), parcel_headers(parcel))
    wait_until(lambda: dead.depth() == 2)
    assert "does not say where" in run("dead", "replay", "2")[2]
    assert run("dead", "purge", "--yes")[1] == "deleted 2\n"


def test_wrong_arguments_are_status_2(run):
    for arguments in (["dead", "purge"], ["dead", "replay"], ["dead", "show", "0"], ["nothing"], []):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


def test_dead_letters_of_a_broker_without_topology(run, place, monkeypatch):
    monkeypatch.setenv("MAILWARREN_AMQP_PREFIX", "nothing-here.")
    status, _, error = run("dead", "list")
    assert (status, "topology apply" in error) == (1, True)
    delete_prefixed(place.amqp_url, "nothing-here.")
