"""A plan reaches Locust's processes whole, and a given rate is shared among the users that post."""

from pathlib import Path

import pytest

from mailwarren.load.plan import SHARES, USERS, WEIGHTS, Plan, Scenario
from mailwarren.load.processes import head_arguments, locust_arguments

PLAN = Plan("r", Scenario.DAY, 40, 12.5, 90, 777, 3, real_names=True, folder=Path("x"), metrics="127.0.0.1:9")


def test_a_plan_is_what_it_was_after_the_environment() -> None:
    assert Plan.of(PLAN.environment()) == PLAN
    assert Plan.of(Plan("r").environment()) == Plan("r")


def test_without_us_locust_has_a_plan_too() -> None:
    assert (Plan.of({}).scenario, Plan.of({}).real_names) == (Scenario.MIXED, False)


@pytest.mark.parametrize("scenario", [one for one in Scenario if one is not Scenario.STATUS])
def test_the_users_of_a_scenario_post_the_rate_together(scenario: Scenario) -> None:
    plan = Plan("r", scenario, users=200, rate=500)
    weights = sum(WEIGHTS[kind] for kind in USERS[scenario])
    posted = sum((plan.pace(kind) or 0) * 200 * WEIGHTS[kind] / weights for kind in USERS[scenario] if kind in SHARES)
    assert posted == pytest.approx(500)


def test_without_a_rate_and_for_readers_there_is_no_pace() -> None:
    assert Plan("r").pace("SinglePoster") is None
    assert Plan("r", rate=5).pace("StatusReader") is None


def test_a_shape_says_the_users_and_the_time_itself() -> None:
    shaped = head_arguments(PLAN, web="")
    assert "--headless" in shaped
    assert not {"--users", "--run-time"} & set(shaped)
    assert head_arguments(Plan("r", seconds=7), web="")[-1] == "7s"
    assert "day.py" in locust_arguments(PLAN, Path("loadtest/locustfile.py"), "http://x/v1")[4]


def test_a_web_page_is_no_headless_run() -> None:
    arguments = head_arguments(Plan("r", seconds=0), web="127.0.0.1:8089")
    assert "--headless" not in arguments
    assert arguments[arguments.index("--web-port") + 1] == "8089"
    assert "--run-time" not in arguments
