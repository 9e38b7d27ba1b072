"""Personas by host and domain: their limits, their mixes and their waits; and the ones that are built in."""

import statistics
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from mailwarren.sink.persona import Persona, Spread, Stage, Tls
from mailwarren.sink.policy import Policy
from mailwarren.sink.role import waits
from mailwarren.sink.script import ScriptError, built_in_personas, read_script, read_toml
from mailwarren.sink.sites import Sites
from mailwarren.sink.visit import Host, Visit

Converse = Callable[..., Any]

FIRST = Host("127.0.0.1:2525", "127.0.0.1", 2525)
SECOND = Host("127.0.0.2:2525", "127.0.0.2", 2525, "mx1.google.test")


def policy(*personas: dict[str, Any]) -> Policy:
    return Policy(read_script({"seed": 1, "personas": list(personas)}), sites=Sites())


def visit(number: int = 1, *, host: Host = FIRST, client: str = "192.0.2.7") -> Visit:
    return Visit(connection=number, host=host, client=client)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("127.0.0.2", True),
        ("127.0.0.2:2525", True),
        (":2525", True),
        ("*.google.test", True),
        ("127.0.0.*", True),
        (":2526", False),
        ("127.0.0.1", False),
    ],
)
def test_a_persona_is_chosen_by_where_the_client_connected(wanted: str, *, there: bool) -> None:
    playing = policy({"hosts": [wanted], "rules": [{"stage": "connect", "code": 421}]})
    assert playing.connect(visit(host=SECOND), 0.0).code == (421 if there else 0)


def test_host_and_domain_together_choose_a_persona() -> None:
    playing = policy(
        {"hosts": ["127.0.0.2"], "domains": ["x.test"], "rules": [{"stage": "rcpt", "code": 550}]},
        {"hosts": ["127.0.0.2"], "rules": [{"stage": "rcpt", "code": 450}]},
    )
    codes = {
        (host.ip, domain): playing.rcpt(visit(host=host), b"", b"u@" + domain, domain, 0.0)[0].code
        for host in (FIRST, SECOND)
        for domain in (b"x.test", b"y.test")
    }
    assert codes == {
        ("127.0.0.1", b"x.test"): 0,
        ("127.0.0.1", b"y.test"): 0,
        ("127.0.0.2", b"x.test"): 550,
        ("127.0.0.2", b"y.test"): 450,
    }


def test_connections_over_a_limit_are_refused_in_the_persona_s_words() -> None:
    playing = policy({"hosts": ["127.0.0.1"], "connections": 2, "over_limit": {"code": 421, "text": "Full"}})
    visits = [visit(n) for n in (1, 2, 3)]
    assert [playing.connect(one, 0.0).reply for one in visits] == [None, None, b"421 Full\r\n"]
    visits[2].end(0.0)
    visits[0].end(0.0)
    assert playing.connect(visit(4), 0.0).goes_on


def test_a_limit_for_each_client_counts_clients_apart() -> None:
    playing = policy({"hosts": ["127.0.0.1"], "connections_per_client": 1})
    codes = [playing.connect(visit(n, client=c), 0.0).code for n, c in enumerate(("a", "b", "a", "c"))]
    assert codes == [0, 0, 421, 0]


def test_limits_of_a_persona_by_domain_begin_with_its_first_recipient(converse: Converse) -> None:
    script = {"personas": [{"name": "big", "domains": ["x.test"], "connections": 1, "mails_per_connection": 2}]}
    client = converse(script)
    assert client.receiver.policy.connect(visit(7), 0.0).goes_on
    assert [client.mail("u@x.test")[-1] for _ in range(2)] == [250, 250]
    assert client.receiver.policy.rcpt(visit(8), b"", b"u@x.test", b"x.test", 0.0)[0].code == 421
    assert client.mail("u@x.test")[:2] == [250, 421]
    assert client.wire.ended == ["close"]


def test_mails_on_one_connection_are_limited_at_mail(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["*"], "mails_per_connection": 2}]})
    assert [client.mail("u@x.test")[-1] for _ in range(2)] == [250, 250]
    assert client.say("MAIL FROM:<a@x.test>") == ["421 4.7.0 Too many messages on this connection"]


def test_recipients_over_a_rate_are_deferred(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["x.test"], "recipients_per_s": 3}]})
    codes = [client.mail(f"u{n}@x.test")[1] for n in range(5)]
    assert codes == [250, 250, 250, 451, 451]
    client.now += 1
    assert client.mail("u9@x.test")[1] == 250


def test_greylisting_tells_clients_senders_and_recipients_apart() -> None:
    playing = policy({"domains": ["x.test"], "greylist_s": 60})

    def code(now: float, client: str = "a", sender: bytes = b"s", to: bytes = b"u@x.test") -> int:
        return playing.rcpt(visit(client=client), sender, to, b"x.test", now)[0].code

    assert [code(0.0), code(59.0), code(60.0)] == [450, 450, 0]
    assert [code(61.0, client="b"), code(61.0, sender=b"t"), code(61.0, to=b"v@x.test")] == [450, 450, 450]


def test_a_mix_is_drawn_by_weight() -> None:
    mix = [
        {"stage": "rcpt", "weight": 7},
        {"stage": "rcpt", "weight": 2, "code": 550},
        {"stage": "rcpt", "weight": 1, "code": 452},
    ]
    playing = policy({"domains": ["x.test"], "mix": mix})
    codes = Counter(playing.rcpt(visit(), b"", b"u%d@x.test" % n, b"x.test", 0.0)[0].code for n in range(4000))
    # Five standard deviations are 145, 127 and 95.
    assert codes[0] == pytest.approx(2800, abs=145)
    assert codes[550] == pytest.approx(800, abs=127)
    assert codes[452] == pytest.approx(400, abs=95)


def test_waits_have_the_distribution_they_were_given() -> None:
    random = Random(1)
    even = waits(Spread(low=10, high=30), random)
    drawn = [even() for _ in range(2000)]
    assert min(drawn) >= 0.010 and max(drawn) <= 0.030 and statistics.mean(drawn) == pytest.approx(0.020, abs=0.001)
    skewed = waits(Spread(median=50, p95=400), random)
    drawn = sorted(skewed() for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(0.05, rel=0.06)
    assert drawn[19_000] == pytest.approx(0.4, rel=0.1)
    assert {waits(7, random)() for _ in range(3)} == {0.007}


def test_each_stage_has_its_wait(converse: Converse) -> None:
    persona = {"domains": ["*"], "latency_ms": 10, "latency_by_stage_ms": {"mail": 40, "ehlo": {"low": 5, "high": 5}}}
    client = converse({"personas": [persona | {"dot_latency_ms": 100}]}, hello=False)
    client.say("EHLO x")
    client.mail("u@x.test")
    client.say("NOOP")
    assert client.wire.held == pytest.approx([0.01, 0.005, 0.04, 0.01, 0.01, 0.11, 0.01])


def test_a_tarpit_says_its_replies_octet_by_octet(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["*"], "octets_per_s": 10}]}, hello=False)
    greeting = b"220 sink.test ESMTP Mailwarren sink\r\n"
    assert bytes(client.wire.sent) == greeting
    assert [len(write) for write in client.wire.writes] == [1] * len(greeting)
    assert sum(client.wire.held) == pytest.approx((len(greeting) - 1) / 10)
    assert client.mail("u@x.test") == [503, 503, 503]
    client.say("EHLO x")
    assert client.mail("u@x.test") == [250, 250, 354, 250]
    assert client.stats.accepted == 1


@pytest.mark.parametrize("stage", ["ehlo", "mail", "rcpt", "data", "mid_data", "dot", "rset", "quit"])
def test_a_connection_can_be_reset_at_every_stage(converse: Converse, stage: str) -> None:
    client = converse({"personas": [{"domains": ["*"], "rules": [{"stage": stage, "reset": True}]}]}, hello=False)
    client.feed(b"EHLO x\r\nRSET\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<u@x.test>\r\n")
    if client.wire.ended == []:
        client.say("QUIT" if stage == "quit" else "DATA")
    if client.wire.ended == []:
        client.feed(b"Message-ID: <1@x>\r\n\r\nhi\r\n.\r\n")
    assert client.wire.ended == ["reset"]
    assert client.stats.resets == {stage: 1}
    client.dialogue.lost()
    assert client.stats.connections_open == 0 and client.stats.pending == 0


def test_a_server_can_give_up_inside_the_data(converse: Converse) -> None:
    rule = {"stage": "mid_data", "code": 421, "enhanced": "4.3.1", "text": "No room"}
    client = converse({"personas": [{"domains": ["x.test"], "rules": [rule]}]})
    assert client.codes("MAIL FROM:<a@x.test>", "RCPT TO:<u@x.test>", "DATA") == [250, 250, 354]
    assert client.feed(b"Message-ID: <1@x>\r\n\r\n") == ["421 4.3.1 No room"]
    assert client.wire.ended == ["hang up"]
    stats = client.stats
    assert (stats.received, stats.refused_by_stage["mid_data"], stats.by_code) == (0, 1, {421: 1})


def test_mail_can_need_tls(converse: Converse) -> None:
    client = converse({"personas": [{"domains": ["*"], "tls": "valid", "requires_tls": True}]})
    assert client.codes("MAIL FROM:<a@x.test>", "EHLO x", "STARTTLS") == [530, 250, 220]
    client.dialogue.secured()
    assert client.codes("EHLO x", "MAIL FROM:<a@x.test>") == [250, 250]


def test_starttls_can_be_missing_or_refused(converse: Converse) -> None:
    client = converse({"personas": [{"like": "no-tls", "domains": ["*"]}]}, offers_tls=True)
    assert "250-STARTTLS" not in client.say("EHLO x") and client.codes("STARTTLS") == [502]
    client = converse({"personas": [{"like": "refused-tls", "hosts": ["127.0.0.1"]}]})
    assert client.say("EHLO x")[-1] == "250 STARTTLS"
    assert client.codes("STARTTLS", "MAIL FROM:<a@x.test>") == [454, 250]


def test_counts_are_kept_by_persona_and_address(converse: Converse) -> None:
    client = converse({"personas": [{"name": "big", "domains": ["x.test"]}]})
    client.mail("u@x.test")
    client.mail("u@y.test")
    sites = client.receiver.store.sites
    found = {name: (site.mails, site.open) for name in sites.names() if (site := sites.find(name))}
    assert found == {"all": (2, 1), "127.0.0.1:2525": (2, 1), "none": (1, 0), "big": (1, 1)}
    client.dialogue.lost()
    assert {sites.find(name).open for name in found} == {0}


# -- built in, and like them


def test_every_built_in_persona_can_be_played_by_host_and_by_domain(converse: Converse) -> None:
    names = set(built_in_personas())
    assert {"google", "microsoft", "yahoo", "apple", "gmx", "company", "greylister", "tarpit", "broken-tls"} <= names
    for name in sorted(names):
        by_host, by_domain = {"like": name, "hosts": ["127.0.0.1"]}, {"like": name, "domains": ["x.test"]}
        for persona in (by_host, by_domain):
            assert read_script({"personas": [persona]}).personas[0].name == name
        client = converse({"personas": [by_domain]})
        assert client.mail("u@x.test")[0] == 250


def test_like_takes_over_what_is_not_said_again() -> None:
    google = built_in_personas()["google"]
    script = read_script({"personas": [{"like": "google", "mails_per_connection": 7, "latency_ms": 0}]})
    persona = script.personas[0]
    assert (persona.label, persona.domains, persona.mails_per_connection) == ("google", tuple(google["domains"]), 7)
    assert persona.latency_ms == 0
    assert read_script(script) == script


def test_a_persona_by_domain_leaves_out_what_comes_before_a_recipient() -> None:
    by_domain = read_script({"personas": [{"like": "suspended", "domains": ["x.test"]}]}).personas[0]
    assert {rule.stage for rule in by_domain.rules} == {Stage.RCPT}
    by_host = read_script({"personas": [{"like": "gmx", "hosts": ["127.0.0.1"]}]}).personas[0]
    assert by_host.requires_tls and by_host.meets_connections
    assert read_script({"personas": [{"like": "expired-certificate", "hosts": [":25"]}]}).personas[0].tls is Tls.EXPIRED


def test_toml_and_json_say_the_same() -> None:
    text = b'seed = 3\n[[personas]]\nlike = "yahoo"\nhosts = ["127.0.0.4"]\n'
    assert read_toml(text) == read_script(b'{"seed": 3, "personas": [{"like": "yahoo", "hosts": ["127.0.0.4"]}]}')
    for wrong in (b"seed = ", b"\xff"):
        with pytest.raises(ScriptError):
            read_toml(wrong)


@pytest.mark.parametrize(
    ("persona", "complaint"),
    [
        ({"hosts": ["A.test"]}, "hosts has 'A.test'"),
        ({"domains": ["x.test"], "tls": "expired"}, "before a recipient is known"),
        ({"domains": ["x.test"], "latency_by_stage_ms": {"ehlo": 5}}, "latency_by_stage_ms has ehlo"),
        ({"domains": ["x.test"], "latency_by_stage_ms": {"rcpt": {"low": 5}}}, "low and high, or median and p95"),
        ({"domains": ["x.test"], "latency_ms": {"low": 5, "high": 1}}, "low 5.0 is above high 1.0"),
        ({"domains": ["x.test"], "latency_ms": {"median": 5, "p95": 1}}, "median 5.0 is above p95 1.0"),
        ({"domains": ["x.test"], "mix": [{"stage": "rcpt", "weight": 0}]}, "$.personas[0].mix[0].weight"),
        ({"domains": ["x.test"], "mix": [{"stage": "ehlo", "weight": 1}]}, "mix[0] is at stage ehlo"),
        ({"domains": ["x.test"], "rules": [{"stage": "rcpt"}]}, "needs a code, or reset"),
        ({"domains": ["x.test"], "rules": [{"stage": "dot", "code": 451, "reset": True}]}, "leave out code or reset"),
        ({"domains": ["x.test"], "rules": [{"stage": "mid_data", "code": 451}]}, "can only say 421"),
        ({"domains": ["x.test"], "over_limit": {"code": 450}}, "its code is 421, not 450"),
        ({"domains": ["x.test"], "tls": "old"}, "$.personas[0].tls"),
        ({"like": "nobody", "domains": ["x.test"]}, "like is 'nobody', expected one of apple"),
        ({"like": 5, "domains": ["x.test"]}, "like is 5"),
        ({"like": "tarpit"}, "a persona needs domains or hosts"),
    ],
)
def test_a_bad_persona_is_refused_with_the_reason(persona: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScriptError) as refused:
        read_script({"personas": [persona]})
    assert complaint in str(refused.value)
    assert "personas[0]" in str(refused.value)


def test_a_persona_by_host_and_any_domain_meets_connections() -> None:
    assert Persona(hosts=("127.0.0.1",)).meets_connections
    assert not Persona(hosts=("127.0.0.1",), domains=("x.test",)).meets_connections
