"""The small decisions: idempotency, admission, cursors, last_event, tokens, keys, alarms."""

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.tracking import HitKind
from mailwarren.ingest.domain.admission import BrokerState, Marks, near_alarm, room_for
from mailwarren.ingest.domain.cursor import Page, parse_page
from mailwarren.ingest.domain.idempotency import (
    LEASE,
    LIFETIME,
    PUBLISH_WITHIN,
    Fresh,
    Record,
    Replay,
    TakeOver,
    check_key,
    decide,
    fingerprint,
)
from mailwarren.ingest.domain.keys import ApiKey, check_domains, check_name
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.requests import Permission
from mailwarren.ingest.domain.status import LAST_EVENT, last_event, seen_state
from mailwarren.ingest.domain.tokens import new_token, shown_prefix, token_hash
from mailwarren.runtime.amqp import CONFIRM_TIMEOUT
from mailwarren.store.states import State

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RECORD = Record(UUID(int=1), b"f", created_at=NOW - SECOND, lease_until=NOW + SECOND)


class TestIdempotency:
    def test_in_flight_is_a_conflict_until_the_lease_ends(self):
        with pytest.raises(Refusal, match="worked on") as caught:
            decide(RECORD, b"f", NOW)
        assert (caught.value.status, caught.value.name) == (409, "concurrent_idempotent_requests")
        assert decide(replace(RECORD, lease_until=NOW), b"f", NOW) == TakeOver(UUID(int=1))

    def test_an_answer_is_replayed_whatever_the_lease(self):
        for lease in (NOW - SECOND, NOW + SECOND):
            record = replace(RECORD, lease_until=lease, answer=b"{}", status=202)
            assert decide(record, b"f", NOW) == Replay(202, b"{}")

    def test_another_body_is_a_conflict_answered_or_not(self):
        for record in (RECORD, replace(RECORD, answer=b"{}", status=200), replace(RECORD, lease_until=NOW)):
            with pytest.raises(Refusal, match="another path or body") as caught:
                decide(record, b"g", NOW)
            assert (caught.value.status, caught.value.name) == (409, "invalid_idempotent_request")

    def test_after_24_hours_the_key_is_free_for_anything(self):
        old = replace(RECORD, created_at=NOW - LIFETIME, answer=b"{}", status=200)
        assert decide(old, b"g", NOW) == Fresh()
        with pytest.raises(Refusal):
            decide(replace(old, created_at=NOW - LIFETIME + SECOND), b"g", NOW)

    def test_keys_are_bounded(self):
        assert check_key("x" * 256)
        for key in ("", "x" * 257):
            with pytest.raises(Refusal) as caught:
                check_key(key)
            assert (caught.value.status, caught.value.name) == (400, "invalid_idempotency_key")

    def test_fingerprints_tell_path_mode_and_body_apart(self):
        assert len({fingerprint("/a", "", b"{}"), fingerprint("/b", "", b"{}"), fingerprint("/a", "x", b"{}"),
                    fingerprint("/a", "", b"[]")}) == 4  # fmt: skip

    def test_no_publish_of_a_lost_lease_can_be_left(self):
        assert LEASE.total_seconds() > PUBLISH_WITHIN + CONFIRM_TIMEOUT


class TestAdmission:
    marks = Marks(send=10, tracker=20)
    quiet = BrokerState(
        send={(Lane.HIGH, "h1"): 10, (Lane.HIGH, "h2"): 11}, accepted={Lane.HIGH: 5, Lane.BULK: 5}, events=10
    )

    def reason(self, state, lane=Lane.HIGH, shard="h1"):
        full = room_for(lane, shard, state, self.marks)
        return full and full.reason

    def test_at_the_mark_there_is_room_above_it_none(self):
        assert self.reason(self.quiet) is None
        assert self.reason(self.quiet, shard="h2") == "queue_full"
        assert self.reason(self.quiet, Lane.BULK, "h2") is None
        assert self.reason(replace(self.quiet, events=11)) == "tracker_backlog"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"up": False}, "broker_down"),
            ({"blocked": True}, "broker_blocked"),
            ({"alarm": "disk"}, "broker_alarm"),
            ({"events": math.inf}, "no_queue"),
            ({"accepted": {Lane.HIGH: math.inf}}, "no_queue"),
            ({"send": {(Lane.HIGH, "h1"): math.inf}}, "no_queue"),
        ],
    )
    def test_why_there_is_no_room(self, change, reason):
        assert self.reason(replace(self.quiet, **change)) == reason

    def test_a_missing_queue_of_one_lane_does_not_stop_another(self):
        assert self.reason(replace(self.quiet, accepted={Lane.BULK: math.inf})) is None
        assert self.reason(replace(self.quiet, send={(Lane.HIGH, "h2"): math.inf})) is None

    def test_what_is_not_known_yet_refuses_nothing(self):
        assert self.reason(BrokerState()) is None

    @pytest.mark.parametrize(
        ("node", "alarm"),
        [
            ({"mem_used": 79, "mem_limit": 100, "disk_free": 200, "disk_free_limit": 100}, None),
            ({"mem_used": 80, "mem_limit": 100, "disk_free": 200, "disk_free_limit": 100}, "memory"),
            ({"mem_used": 10, "mem_limit": 100, "disk_free": 125, "disk_free_limit": 100}, "disk"),
            ({"mem_used": 10, "mem_limit": 0}, None),
            ({}, None),
        ],
    )
    def test_the_marks_below_the_brokers_alarms(self, node, alarm):
        assert near_alarm(node) == alarm


class TestCursor:
    def test_what_a_query_asks_for(self):
        assert parse_page({}) == Page(20)
        assert parse_page({}, default=None) == Page(None)
        assert parse_page({"limit": "5"}, default=None) == Page(5)
        assert parse_page({"limit": "100", "after": str(UUID(int=1))}) == Page(100, after=UUID(int=1))

    @pytest.mark.parametrize(
        "query",
        [
            {"limit": "0"}, {"limit": "101"}, {"limit": "-1"}, {"limit": "٣"}, {"limit": "1e1"}, {"limit": ""},
            {"after": "x"}, {"before": ""}, {"offset": "1"},
            {"after": str(UUID(int=1)), "before": str(UUID(int=2))},
        ],
    )  # fmt: skip
    def test_what_it_cannot(self, query):
        with pytest.raises(Refusal) as caught:
            parse_page(query)
        assert (caught.value.status, caught.value.name) == (422, "invalid_parameter")

    def test_a_page_without_a_limit_has_everything(self):
        assert Page(None).fetch is None
        assert Page(None).cut(range(300)) == (list(range(300)), False)
        assert Page(None, before=UUID(int=1)).cut([1, 2]) == ([2, 1], False)

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers()), unique=True), st.integers(1, 5))
    def test_pages_show_every_row_once_in_both_directions(self, keys, limit):
        newest_first = sorted(keys, reverse=True)

        def read(page, cursor=None):
            rows = newest_first[::-1] if page.before else newest_first
            if cursor is not None:
                rows = rows[rows.index(cursor) + 1 :]
            return page.cut(rows[: page.fetch])

        seen, cursor, more = [], None, True
        while more:
            shown, more = read(Page(limit, after=UUID(int=1)) if cursor else Page(limit), cursor)
            seen += shown
            cursor = shown[-1] if shown else None
        assert seen == newest_first
        if not keys:
            return
        back, more = [], True
        cursor = newest_first[-1]
        while more:
            shown, more = read(Page(limit, before=UUID(int=1)), cursor)
            back = shown + back
            cursor = shown[0] if shown else cursor
        assert back == newest_first[:-1]


class TestLastEvent:
    def test_every_state_has_its_word(self):
        assert set(LAST_EVENT) == {*State, *HitKind}

    @pytest.mark.parametrize(
        ("states", "word"),
        [
            (["delivered", "delivered"], "delivered"),
            (["delivered", "opened"], "opened"),
            (["delivered", "opened", "clicked"], "clicked"),
            (["clicked", "bounced"], "bounced"),
            (["delivered", "bounced", "deferred"], "bounced"),
            (["delivered", "expired"], "failed"),
            (["delivered", "suppressed"], "suppressed"),
            (["delivered", "deferred", "accepted"], "delivery_delayed"),
            (["delivered", "accepted"], "queued"),
            (["delivered", "parked"], "queued"),
            (["delivered", "canceled"], "canceled"),
            (["delivered", "unconfirmed"], "queued"),
            (["unconfirmed"], "queued"),
            ([], "queued"),
        ],
    )
    def test_trouble_first_then_what_is_open_then_the_good_ends(self, states, word):
        assert last_event(states) == last_event(states[::-1]) == word

    def test_what_its_reader_did_counts_once_a_mail_is_delivered(self):
        at = datetime(2030, 1, 1, tzinfo=UTC)
        assert seen_state({"state": "delivered", "opened_at": None, "clicked_at": None}) == "delivered"
        assert seen_state({"state": "delivered", "opened_at": at, "clicked_at": None}) == "opened"
        assert seen_state({"state": "delivered", "opened_at": at, "clicked_at": at}) == "clicked"
        assert seen_state({"state": "deferred", "opened_at": at, "clicked_at": at}) == "deferred"
        assert seen_state({"state": "scheduled"}) == "scheduled"


class TestKeys:
    def test_a_token_is_190_random_bits_and_is_kept_as_a_hash(self):
        choose = random.Random(1).choice
        tokens = {new_token(choose) for _ in range(1000)}
        assert len(tokens) == 1000
        token = tokens.pop()
        assert token.startswith("mw_")
        assert len(token) == 35
        assert math.log2(62) * 32 > 160
        assert token not in token_hash(token).hex()
        assert shown_prefix(token) == token[:8]

    def test_domains_are_compared_exactly(self):
        key = ApiKey(UUID(int=1), UUID(int=2), Permission.FULL, ("example.com",))
        key.check_sender("example.com")
        for domain in ("news.example.com", "example.org", "ample.com"):
            with pytest.raises(Refusal) as caught:
                key.check_sender(domain)
            assert caught.value.status == 403
        replace(key, domains=None).check_sender("anything.test")

    def test_domains_are_kept_as_lower_case_a_labels(self):
        assert check_domains(["Example.COM", "bücher.example", "example.com"]) == [
            "example.com", "xn--bcher-kva.example",
        ]  # fmt: skip
        assert check_domains(None) is None
        for domains in ([], ["localhost"], ["a b.test"], ["x@y.test"], ["d.test"] * 101):
            with pytest.raises(Refusal):
                check_domains(domains)

    def test_a_key_grants_no_more_than_it_has(self):
        key = ApiKey(UUID(int=1), UUID(int=2), Permission.FULL, ("a.test", "b.test"))
        key.check_grant(["b.test"])
        for domains in (None, ["c.test"], ["a.test", "c.test"]):
            with pytest.raises(Refusal) as caught:
                key.check_grant(domains)
            assert caught.value.status == 403
        replace(key, domains=None).check_grant(None)

    def test_names(self):
        assert check_name(" CI ") == "CI"
        for name in ("", "  ", "x" * 51, "a\nb"):
            with pytest.raises(Refusal):
                check_name(name)
