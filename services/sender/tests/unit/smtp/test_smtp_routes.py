import pytest

from mailwarren.sender.smtp import (
    SMARTHOST,
    Auth,
    Host,
    Routes,
    Shaping,
    Site,
    SiteLimits,
    SitePolicy,
    TlsMode,
    parse_smtp_url,
)


async def test_a_smarthost_takes_the_mail_of_every_domain():
    routes = Routes(smarthost=parse_smtp_url("smtps://u:p@relay.example:4650"))

    site = await routes.site_for("x.example")

    assert site == Site(
        SMARTHOST,
        (Host("relay.example", 4650),),
        TlsMode.VERIFY,
        implicit_tls=True,
        auth=Auth("u", "p"),
        limits=SiteLimits(),
    )
    assert await routes.site_for("y.example") is site


async def test_the_smarthosts_limits_follow_its_policy_and_its_tls_follows_the_url():
    shaping = Shaping({SMARTHOST: SitePolicy(SiteLimits(connections=3), TlsMode.VERIFY)})
    routes = Routes(smarthost=parse_smtp_url("smtp://relay.example?tls=off"), shaping=lambda: shaping)
    before = await routes.site_for("x.example")

    shaping = Shaping({SMARTHOST: SitePolicy(SiteLimits(connections=50), TlsMode.VERIFY)})
    after = await routes.site_for("x.example")

    assert isinstance(before, Site)
    assert isinstance(after, Site)
    assert (before.limits.connections, after.limits.connections) == (3, 50)
    assert before.route == after.route
    assert after.tls is TlsMode.OFF
    assert routes.limits_of(before) == after.limits


def test_mail_must_be_able_to_go_somewhere():
    with pytest.raises(ValueError, match="smarthost or a resolver"):
        Routes()


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("mx.a.example", "exact"),
        ("mx2.a.example", "below"),
        ("a.example", "a.example"),
        ("deep.mx.a.example", "below"),
        ("xa.example", "xa.example"),
        ("one.two.other.test", "other.test"),
        ("", ""),
    ],
)
def test_the_longest_end_of_a_mail_hosts_name_says_its_site(host: str, site: str):
    shaping = Shaping(mx={"mx.a.example": "exact", ".a.example": "below", ".example.": "none"})
    assert shaping.site_of(host) == site


async def test_new_rules_move_a_domain_to_another_site_and_say_so_of_the_old_one():
    one, other = Shaping(mx={".a.example": "one"}), Shaping(mx={".a.example": "other"})
    strict = Shaping({"one": SitePolicy(tls=TlsMode.REQUIRED)}, mx={".a.example": "one"})
    wide = Shaping({"one": SitePolicy(SiteLimits(connections=30))}, mx={".a.example": "one"})
    inside = one
    routes = Routes(smarthost=parse_smtp_url("smtp://unused.example"), shaping=lambda: inside)
    site = Site("one", (Host("mx.a.example", 25, "192.0.2.1"),))

    assert routes.limits_of(site) == SiteLimits()
    inside = wide
    assert routes.limits_of(site) == SiteLimits(connections=30)
    inside = other
    assert routes.limits_of(site) is None
    inside = strict
    assert routes.limits_of(site) is None
