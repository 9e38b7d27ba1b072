"""After each answer: when the next try is, or that there is none."""

import pytest

from mailwarren.store.states import WebhookState
from mailwarren.tracker.domain.webhook_lane import FAILING_AFTER, PAUSE_FIRST, PAUSE_MOST, Lane
from mailwarren.tracker.domain.webhook_retries import LIFETIME, STEPS, Answer, plan_next

SCHEDULE = [10, 60, 300, 900, 3600, 14400, 86400]


def test_the_schedule_is_that_of_the_docs_and_ends():
    plans = [plan_next(Answer(500, "no"), attempts) for attempts in range(1, 9)]
    assert [plan.wait for plan in plans] == [*SCHEDULE, None]
    assert [plan.state for plan in plans] == [WebhookState.ATTEMPTING] * 7 + [WebhookState.FAILED]
    assert sum(STEPS) < LIFETIME


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_yes(status):
    assert plan_next(Answer(status, ""), 3) == (WebhookState.SUCCESS, None, False)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 408, 429, 500, 503])
def test_everything_else_is_tried_again(status):
    assert plan_next(Answer(status, ""), 1) == (WebhookState.ATTEMPTING, 10, False)


@pytest.mark.parametrize("trouble", ["timeout", "unreachable", "private", "protocol"])
def test_no_answer_is_tried_again(trouble):
    answer = Answer(0, "nobody", trouble)
    assert plan_next(answer, 2) == (WebhookState.ATTEMPTING, 60, False)
    assert answer.result == trouble


def test_406_ends_the_event_and_410_the_endpoint_too():
    assert plan_next(Answer(406, ""), 1) == (WebhookState.FAILED, None, False)
    assert plan_next(Answer(410, ""), 1) == (WebhookState.FAILED, None, True)


def test_a_receiver_may_ask_for_more_time_but_not_for_less_and_not_for_ever():
    assert plan_next(Answer(429, "", retry_after=120), 1).wait == 120
    assert plan_next(Answer(429, "", retry_after=1), 1).wait == 10
    assert plan_next(Answer(503, "", retry_after=1e9), 1).wait == 3600


def test_the_schedule_can_be_shortened():
    assert plan_next(Answer(500, ""), 2, 0.01).wait == pytest.approx(0.6)


def failed(lane, times, now=0.0):
    for _ in range(times):
        lane.began()
        lane.ended(success=False, now=now)


def test_a_healthy_lane_takes_so_many_at_once():
    lane = Lane(3)
    for left in (2, 1, 0):
        lane.began()
        assert lane.room(0.0) == left
    lane.ended(success=True, now=0.0)
    assert lane.room(0.0) == 1


def test_one_event_that_fails_alone_changes_nothing():
    lane = Lane(3)
    failed(lane, FAILING_AFTER - 1)
    assert lane.room(0.0) == 3
    lane.began()
    lane.ended(success=True, now=0.0)
    failed(lane, FAILING_AFTER - 1)
    assert not lane.failing


def test_a_failing_lane_takes_one_at_a_time_with_growing_pauses():
    lane, now, pauses = Lane(10), 100.0, []
    failed(lane, FAILING_AFTER, now)
    for _ in range(8):
        pauses.append(lane.paused_until - now)
        assert lane.room(now) == 0
        now = lane.paused_until
        assert lane.room(now) == 1
        lane.began()
        assert lane.room(now) == 0
        lane.ended(success=False, now=now)
    assert pauses == [PAUSE_FIRST, 1.0, 2.0, 4.0, 8.0, PAUSE_MOST, PAUSE_MOST, PAUSE_MOST]


def test_the_first_success_opens_it_again():
    lane = Lane(10)
    failed(lane, 50)
    lane.began()
    lane.ended(success=True, now=1.0)
    assert (lane.failing, lane.room(1.0)) == (False, 10)


def test_what_was_not_tried_says_nothing_about_the_endpoint():
    lane = Lane(10)
    failed(lane, FAILING_AFTER)
    until = lane.paused_until
    lane.began()
    lane.ended(success=None, now=5.0)
    assert (lane.failing, lane.paused_until, lane.in_flight) == (True, until, 0)
