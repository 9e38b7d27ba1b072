"""Sites: what a window says is what happened in its seconds."""

from mailwarren.sink.sites import Site, Sites, Window


def windows(site: Site, now: float, *, seconds: int, step: int | None = None, since: int = 0) -> list[Window]:
    return list(site.windows(now, seconds=seconds, step=step or seconds, since=since))


def test_windows_count_what_fell_into_them() -> None:
    site = Site("x")
    for second, mails in enumerate([3, 0, 5, 1]):
        for _ in range(mails):
            site.receive(10, 1000.5 + second)
            site.answer(250, 1000.9 + second)
    site.answer(451, 1003.0)
    found = windows(site, 1004.0, seconds=2)
    assert [(w.start, w.received, w.accepted, w.refused) for w in found] == [(1000, 3, 3, 0), (1002, 6, 6, 1)]
    assert [w.accepted for w in windows(site, 1004.0, seconds=2, step=1)] == [3, 5, 6]
    assert [w.start for w in windows(site, 1004.0, seconds=1, since=1002)] == [1002, 1003]
    assert (site.mails, site.bytes, site.replies) == (9, 90, {250: 9, 451: 1})


def test_the_first_window_begins_where_all_others_do() -> None:
    site = Site("x")
    site.receive(1, 1003.0)
    site.receive(1, 1006.0)
    assert [(w.start, w.received) for w in windows(site, 1010.0, seconds=5)] == [(1000, 1), (1005, 1)]
    assert [(w.start, w.received) for w in windows(site, 1010.0, seconds=5, since=1001)] == [(1005, 1)]


def test_only_windows_that_are_over_are_shown() -> None:
    site = Site("x")
    site.receive(1, 1000.0)
    assert windows(site, 1004.9, seconds=5) == []
    assert [w.start for w in windows(site, 1005.0, seconds=5)] == [1000]


def test_the_peak_is_of_moments_and_lasts_while_connections_stay() -> None:
    site = Site("x")
    for at in (1000.1, 1000.2, 1000.3):
        site.join("c", at)
    site.leave("c", 1000.4)
    site.leave("c", 1003.2)
    site.join("c", 1003.3)
    site.leave("c", 1004.0)
    site.leave("c", 1004.1)
    peaks = [w.connections_peak for w in windows(site, 1007.0, seconds=1)]
    assert peaks == [3, 2, 2, 2, 2, 0, 0]
    assert [w.opened for w in windows(site, 1007.0, seconds=1)] == [3, 0, 0, 1, 0, 0, 0]
    assert (site.open, site.clients) == (0, {})


def test_a_clock_set_back_loses_nothing() -> None:
    site = Site("x")
    site.receive(1, 1000.0)
    site.receive(1, 990.0)
    site.receive(1, 1001.0)
    assert sum(w.received for w in windows(site, 1002.0, seconds=1)) == 3


def test_a_day_of_seconds_is_kept_and_older_ones_go() -> None:
    site = Site("x")
    site.join("c", 0.5)
    for second in range(0, 200_000, 1000):
        site.receive(1, float(second))
    found = windows(site, 200_000.0, seconds=1000)
    assert 90 <= len(found) <= 95
    assert {w.received for w in found} == {1}
    assert {w.connections_peak for w in found} == {1}
    site.receive(1, 10_000_000.0)
    assert [w.received for w in windows(site, 10_000_001.0, seconds=1)] == [1]


def test_a_rate_allows_a_second_s_worth_at_once_and_no_more() -> None:
    site = Site("x")
    assert sum(site.take(10, 1000.0) for _ in range(50)) == 10
    taken = sum(site.take(10, 1000.0 + at / 100) for at in range(1, 501))
    assert 49 <= taken <= 50
    assert sum(site.take(0.5, 2000.0) for _ in range(5)) == 1


def test_forgetting_keeps_who_is_connected() -> None:
    sites = Sites()
    site = sites.persona("google")
    site.join("c", 1000.0)
    site.receive(5, 1000.0)
    sites.forget()
    assert (site.open, site.mails, site.replies) == (1, 0, {})
    site.receive(5, 1010.0)
    assert [(w.start, w.connections_peak) for w in windows(site, 1011.0, seconds=1)] == [(1010, 1)]
    assert sites.find("google") is site and sites.find("nobody") is None
