import pytest

from mailwarren.sender.smtp import (
    SMARTHOST,
    Auth,
    Host,
    Routes,
    Site,
    SiteLimits,
    SitePolicy,
    TlsMode,
    default_policy,
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
        limits=default_policy(SMARTHOST).limits,
    )
    assert await routes.site_for("y.example") is site


async def test_the_smarthosts_limits_follow_its_policy_and_its_tls_follows_the_url():
    policy = SitePolicy(SiteLimits(connections=3), TlsMode.VERIFY)
    routes = Routes(smarthost=parse_smtp_url("smtp://relay.example?tls=off"), policy=lambda _: policy)
    before = await routes.site_for("x.example")

    policy = SitePolicy(SiteLimits(connections=50), TlsMode.VERIFY)
    after = await routes.site_for("x.example")

    assert isinstance(before, Site)
    assert isinstance(after, Site)
    assert (before.limits.connections, after.limits.connections) == (3, 50)
    assert before.route == after.route
    assert after.tls is TlsMode.OFF


def test_mail_must_be_able_to_go_somewhere():
    with pytest.raises(ValueError, match="smarthost or a resolver"):
        Routes()


def test_google_is_never_sent_mail_in_plain_text():
    assert default_policy("google").tls is TlsMode.REQUIRED
    assert default_policy("example.org").tls is TlsMode.OPPORTUNISTIC
