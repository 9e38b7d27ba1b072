"""What reply rules ask for is put in force once, at the right time, and by all senders as one."""

import asyncio
from uuid import UUID

import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.reply import Command, Reply
from mailwarren.contracts.shaping import Notice, Override, OverrideEnd, Scope, Sighting
from mailwarren.sender.domain.actions import Action
from mailwarren.sender.domain.classify import ReplyRules, Rule, find_rule
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.rules.replies import read_replies
from mailwarren.sender.shaping.automation import MOST_UNNAMED, Automation
from mailwarren.sender.smtp import SMARTHOST

ADA, BOB = UUID(int=1), UUID(int=2)
RULES = read_replies(
    [
        b"""
[[rules]]
class = "halt"
permanent = "deferred"
text = "halt"
action = { suspend = "1h" }
[[rules]]
class = "slower"
permanent = "deferred"
text = "slower"
after = "4/1m"
action = { rate = "6/min", connections = 1, for = "30m" }
[[rules]]
class = "you"
permanent = "deferred"
text = "you"
after = "2/1m"
action = { suspend_tenant = "5m" }
[[rules]]
class = "relay"
permanent = "deferred"
text = "relay"
sites = ["smarthost"]
action = { suspend = "1m" }
"""
    ]
)


class Fleet:
    """Senders that hear each other, as over the broker."""

    def __init__(self, count: int) -> None:
        self.written: list[tuple[Override, bool]] = []
        self.said: list[Sighting] = []
        self.in_force = [InForce() for _ in range(count)]
        self.senders = [self._sender(InForce(), RULES) for _ in range(count)]

    def _sender(self, in_force: InForce, rules: ReplyRules) -> Automation:
        def impose(entry: Override, *, known: bool) -> None:
            self.written.append((entry, known))
            self.log(entry)

        self.in_force.append(in_force)
        return Automation(
            in_force,
            replies=lambda: rules,
            named=lambda name: name.startswith("named"),
            impose=impose,
            say=self._say,
            tell_every=0.02,
        )

    def log(self, entry: Override | OverrideEnd) -> None:
        for in_force in self.in_force:
            in_force.apply(entry, entry.since if isinstance(entry, Override) else entry.at)

    def _say(self, notice: Notice) -> None:
        assert isinstance(notice, Sighting)
        self.said.append(notice)
        for sender in self.senders:
            sender.noticed(notice)

    def see(self, sender: int, words: str, site: str = "named", tenant: UUID = ADA) -> Reply:
        reply = Reply(421, words, "4.7.0", Command.RCPT)
        rule = rule_for(reply, site)
        self.senders[sender].seen(rule, site, tenant, reply)
        return reply


def rule_for(reply: Reply, site: str) -> Rule:
    rule = find_rule(reply, RULES, site)
    assert rule is not None
    return rule


async def test_one_reply_is_enough_where_no_number_is_asked_for_and_then_it_is_quiet() -> None:
    fleet = Fleet(2)
    for sender in (0, 0, 1, 1, 0):
        fleet.see(sender, "halt, says Yahoo")
    ((override, known),) = fleet.written
    assert known
    assert (override.scope, override.name, override.suspend) == (Scope.SITE, "named", True)
    assert (override.cause, override.sample) == ("rule:halt", "421 4.7.0 halt, says Yahoo")
    assert override.until - override.since == pytest.approx(3600)
    assert fleet.said == []


async def test_all_senders_count_together_and_write_the_same() -> None:
    fleet = Fleet(3)
    for sender in (0, 1, 2):
        fleet.see(sender, f"slower {sender}")
    assert fleet.written == []
    fleet.see(1, "slower again")
    await asyncio.sleep(0.05)
    # Whoever is told first writes, and the others find it in force; told at one moment, they would write the same.
    assert {override.id for override, _ in fleet.written} == {fleet.written[0][0].id}
    (override, _) = fleet.written[0]
    assert (override.rate, override.connections, override.suspend) == (0.1, 1, False)
    assert override.sample == "421 4.7.0 slower again"


async def test_two_that_are_told_at_one_moment_write_the_same_entry() -> None:
    fleets = [Fleet(1), Fleet(1)]
    reply = Reply(421, "slower", "4.7.0", Command.RCPT)
    sighting = Sighting("named", None, rule_for(reply, "named").key, 1_700_000_000.5, 4, "421 slower")
    for fleet in fleets:
        fleet.senders[0].noticed(sighting)
    assert fleets[0].written == fleets[1].written
    assert len(fleets[0].written) == 1


async def test_many_replies_are_few_notices() -> None:
    fleet = Fleet(1)
    fleet.senders.append(fleet._sender(InForce(), ()))
    for number in range(3):
        fleet.see(0, f"slower {number}", site=f"named{number}")
        for again in range(500):
            fleet.see(0, f"slower {number} {again}", site=f"named{number}")
    assert len(fleet.said) == 3
    await asyncio.sleep(0.1)
    assert len(fleet.said) == 6
    assert [one.count for one in fleet.said] == [1, 1, 1, 500, 500, 500]
    assert sorted(override.name for override, _ in fleet.written) == ["named0", "named1", "named2"]


async def test_what_all_who_waited_are_told_of_one_host_is_one_reply() -> None:
    fleet = Fleet(1)
    reply = fleet.see(0, "slower")
    for _ in range(100):
        fleet.senders[0].seen(rule_for(reply, "named"), "named", ADA, reply)
    await asyncio.sleep(0.05)
    assert [one.count for one in fleet.said] == [1]
    assert fleet.written == []


async def test_when_a_person_ends_it_the_next_reply_begins_it_anew() -> None:
    fleet = Fleet(1)
    fleet.see(0, "halt")
    first = fleet.written[0][0]
    fleet.log(OverrideEnd(first.id, first.since + 0.0, "ada"))
    fleet.see(0, "halt")
    assert len(fleet.written) == 2


async def test_a_tenant_is_suspended_for_what_its_own_mail_was_told() -> None:
    fleet = Fleet(2)
    fleet.see(0, "you", tenant=ADA)
    fleet.see(1, "you", tenant=BOB)
    await asyncio.sleep(0.03)
    assert fleet.written == []
    fleet.see(1, "you again", tenant=BOB)
    await asyncio.sleep(0.03)
    names = {(override.scope, override.name, override.suspend) for override, _ in fleet.written}
    assert names == {(Scope.TENANT, str(BOB), True)}


async def test_what_a_smarthost_says_stops_it_only_by_a_rule_that_names_it() -> None:
    fleet = Fleet(1)
    fleet.see(0, "halt", site=SMARTHOST)
    assert fleet.written == []
    fleet.see(0, "relay", site=SMARTHOST)
    assert [override.name for override, _ in fleet.written] == [SMARTHOST]


async def test_of_sites_without_a_row_only_so_many_a_minute_are_told_to_all() -> None:
    fleet = Fleet(1)
    for number in range(MOST_UNNAMED + 5):
        fleet.see(0, "halt", site=f"s{number}.test")
    fleet.see(0, "halt", site="named")
    assert [known for _, known in fleet.written] == [True] * MOST_UNNAMED + [False] * 5 + [True]


async def test_a_rule_without_an_action_does_nothing() -> None:
    fleet = Fleet(1)
    fleet.senders[0].seen(Rule("quiet", RULES[0].permanent), "named", ADA, Reply(421, "x"))
    fleet.senders[0].noticed(Sighting("named", None, "quiet:unknown", 0.0, 99, ""))
    assert fleet.written == fleet.said == []


async def test_an_action_of_another_kind_is_put_beside_what_holds() -> None:
    fleet = Fleet(1)
    fleet.log(Override(new_id(), Scope.SITE, "named", 0.0, 4e9, connections=1, cause="rule:halt"))
    fleet.see(0, "halt")
    assert len(fleet.written) == 1
    assert Action(1.0, suspend=True).name == "suspend"
