"""``shaping.toml``: what the built-in rows say, how an operator's lie over them, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.document import RulesError
from mailwarren.sender.rules.shaping import read_shaping
from mailwarren.sender.smtp import SMARTHOST, Shaping, SiteLimits, SiteTimeouts, TlsMode

OURS = built_in("shaping")


def over(text: str) -> Shaping:
    return read_shaping((OURS, text.encode()))


@pytest.mark.parametrize(
    ("host", "site", "connections", "messages", "tls"),
    [
        ("gmail-smtp-in.l.google.com", "google", 5, 50, "required"),
        ("aspmx3.googlemail.com", "google", 5, 50, "required"),
        ("mta5.am0.yahoodns.net", "yahoo", 10, 20, "opportunistic"),
        ("hotmail-com.olc.protection.outlook.com", "outlook", 5, 50, "opportunistic"),
        ("contoso-com.mail.protection.outlook.com", "office365", 5, 50, "opportunistic"),
        ("contoso-com.d-v1.mx.microsoft", "microsoft", 5, 50, "opportunistic"),
        ("mx01.mail.icloud.com", "apple", 10, 5, "opportunistic"),
        ("mx1a1.comcast.net", "comcast.net", 25, 1000, "required"),
        ("eu-smtp-inbound-1.mimecast.com", "mimecast.com", 10, 100, "opportunistic"),
        ("smtp-in.orange.fr", "orange.fr", 2, 100, "required"),
        ("mx00.emig.gmx.net", "gmx", 4, 20, "required"),
        ("mx-ha02.web.de", "gmx", 4, 20, "required"),
        ("mx3.mail.yahoo.co.jp", "yahoo.co.jp", 2, 20, "opportunistic"),
        ("mx.example.org", "example.org", 10, 100, "opportunistic"),
        ("evilgoogle.com", "evilgoogle.com", 10, 100, "opportunistic"),
    ],
)
def test_the_built_in_rows(host: str, site: str, connections: int, messages: int, tls: str) -> None:
    shaping = read_shaping((OURS,))
    assert shaping.site_of(host) == site
    policy = shaping.policy(site)
    assert (policy.limits.connections, policy.limits.messages_per_connection) == (connections, messages)
    assert policy.tls == tls
    assert policy is shaping.policy(site)


def test_every_built_in_row_is_tested() -> None:
    tested = {mark.args[1][n][1] for mark in test_the_built_in_rows.pytestmark for n in range(len(mark.args[1]))}
    assert read_shaping((OURS,)).names - tested == {SMARTHOST}


def test_a_row_changes_what_it_says_and_nothing_else() -> None:
    google, ours = over("[sites.google]\nconnections = 3\n").policy("google"), over("").policy("google")
    assert google.limits == replace(ours.limits, connections=3)
    assert google.tls is TlsMode.REQUIRED


def test_the_default_row_is_for_what_no_row_says() -> None:
    shaping = over("[default]\nidle = 7.5\nconnections = 2\ntls = 'off'\nmails_behind = 1\n")
    example, google = over("").policy("example.org").limits, over("").policy("google").limits
    assert shaping.policy("example.org").limits == replace(example, connections=2, idle=7.5, behind=1)
    assert shaping.policy("example.org").tls is TlsMode.OFF
    assert shaping.policy("google").limits == replace(google, idle=7.5, behind=1)
    assert shaping.policy("comcast.net").limits.idle == 30
    assert shaping.policy("google").tls is TlsMode.REQUIRED


@pytest.mark.parametrize(
    ("written", "rate"), [("0.5", 0.5), ("20", 20.0), ("'10/s'", 10.0), ("'30/min'", 0.5), ("'18/h'", 0.005)]
)
def test_rates_are_numbers_a_second_or_counts_of_a_span(written: str, rate: float) -> None:
    limits = over(f"[sites.google]\nrate = {written}\nconnection_rate = {written}\n").policy("google").limits
    assert (limits.rate, limits.connection_rate) == (rate, rate)


@pytest.mark.parametrize(
    ("site", "rate", "connection_rate", "idle", "breaker"),
    [
        ("example.org", 100.0, 100 / 60, 60.0, 100),
        ("google", None, None, 60.0, 5),
        ("yahoo", None, None, 60.0, 5),
        ("outlook", None, None, 60.0, 5),
        ("office365", None, None, 60.0, 5),
        ("microsoft", None, None, 60.0, 5),
        ("apple", None, None, 60.0, 5),
        ("comcast.net", None, None, 30.0, 24),
        ("mimecast.com", None, None, 60.0, 100),
        ("orange.fr", None, None, 60.0, 100),
        ("gmx", None, None, 60.0, 100),
        ("yahoo.co.jp", 10.0, None, 60.0, 100),
    ],
)
def test_what_the_built_in_rows_say_of_rates_and_failures(
    site: str, rate: float | None, connection_rate: float | None, idle: float, breaker: int
) -> None:
    limits = read_shaping((OURS,)).policy(site).limits
    assert (limits.rate, limits.connection_rate, limits.idle, limits.breaker) == (rate, connection_rate, idle, breaker)
    assert limits.timeouts == SiteTimeouts(connect=30.0, ehlo=60.0, mail=60.0, rcpt=60.0, data=30.0)


def test_timeouts_are_laid_over_each_other_key_by_key() -> None:
    shaping = over("[default]\ntimeouts = { mail = '2m' }\n[sites.google]\ntimeouts = { rcpt = 7, final_dot = '1m' }\n")
    assert shaping.policy("example.org").limits.timeouts == SiteTimeouts(30.0, 60.0, 120.0, 60.0, 30.0)
    assert shaping.policy("google").limits.timeouts == SiteTimeouts(30.0, 60.0, 120.0, 7.0, 30.0, 60.0)


def test_messages_go_by_bdat_only_where_a_row_says_so() -> None:
    shaping = read_shaping((built_in("shaping"), b"[sites.'x.test']\nchunking = true\n"))
    assert shaping.policy("x.test").limits.chunking
    assert not any(shaping.policy(name).limits.chunking for name in (*shaping.names - {"x.test"}, "other"))
    with pytest.raises(RulesError, match="chunking"):
        read_shaping((b"[default]\nchunking = 'yes'\n",))


def test_a_rate_is_lifted() -> None:
    shaping = over("[default]\nrate = 'none'\nconnection_rate = 'none'\n")
    limits = shaping.policy("example.org").limits
    assert (limits.rate, limits.connection_rate) == (None, None)


@pytest.mark.parametrize("written", ["0", "-1", "nan", "inf", "true", "''", "'0/s'", "'1/d'", "'1.5/s'", "'10 / s'"])
def test_rates_that_no_mail_could_follow_are_refused(written: str) -> None:
    with pytest.raises(RulesError, match="rate"):
        over(f"[sites.google]\nrate = {written}\n")


def test_a_site_of_ones_own_by_its_domain_or_by_its_hosts() -> None:
    shaping = over(
        "[sites.'example.org']\nconnections = 1\n[sites.partner]\nmx = ['mx.partner.example', '.in.partner.example']\n"
    )
    assert shaping.policy(shaping.site_of("mx7.example.org")).limits.connections == 1
    assert shaping.site_of("a.in.partner.example") == "partner"
    assert shaping.site_of("mx.partner.example") == "partner"
    assert shaping.site_of("mx2.partner.example") == "partner.example"


def test_mail_hosts_can_be_taken_over_from_a_built_in_row_and_a_rows_list_is_replaced() -> None:
    shaping = over("[sites.windows]\nmx = ['.olc.protection.outlook.com', '.outlook.com']\n")
    assert shaping.site_of("hotmail-com.olc.protection.outlook.com") == "windows"
    assert shaping.site_of("contoso-com.mail.protection.outlook.com") == "windows"
    shaping = over("[sites.google]\nmx = ['.google.com']\n")
    assert shaping.site_of("aspmx3.googlemail.com") == "googlemail.com"
    assert shaping.site_of("aspmx.l.google.com") == "google"


def test_the_smarthost_has_its_settings_but_for_what_its_row_says() -> None:
    settings = SiteLimits(connections=20, behind=3)
    below = b"[default]\nconnections = 2\nidle = 5\n"
    assert read_shaping((OURS, below), smarthost=settings).policy(SMARTHOST).limits == settings
    row = b"[sites.smarthost]\nconnections = 7\n"
    limits = read_shaping((OURS, row), smarthost=settings).policy(SMARTHOST).limits
    assert limits == SiteLimits(connections=7, behind=3)


REFUSED = [
    ("connections = 3", "'connections' is no key that this version obeys: default, sites"),
    ("[sites.google]\nmessage_rate = '10/s'", "[sites.google] 'message_rate' is no key that this version obeys"),
    ("[default]\nfuse = 100", "[default] 'fuse' is no key that this version obeys"),
    ("[default]\nmx = ['.x.test']", "[default] 'mx' is no key that this version obeys"),
    ("[sites.google]\nconnections = 0", "[sites.google] connections: Expected `int` >= 1"),
    ("[sites.google]\nconnections = -5", "[sites.google] connections: Expected `int` >= 1"),
    ("[sites.google]\nconnections = true", "[sites.google] connections: Expected `int`, got `bool`"),
    ("[sites.google]\nconnections = '5'", "[sites.google] connections: Expected `int`, got `str`"),
    ("[sites.google]\nconnections = 5.5", "[sites.google] connections: Expected `int`, got `float`"),
    ("[sites.google]\nconnections = 99999999999999999999999", "[sites.google] connections: "),
    ("[default]\nmessages_per_connection = 0", "[default] messages_per_connection: Expected `int` >= 1"),
    ("[default]\nidle = 0", "[default] idle: Expected `float` > 0.0"),
    ("[default]\nidle = inf", "[default] idle: Expected `float` <= 86400.0"),
    ("[default]\nidle = '2h'", "[default] idle: 3600 seconds at most"),
    ("[default]\nidle = 'long'", "[default] idle: Expected `str` matching regex"),
    ("[default]\ntimeouts = 5", "[default] timeouts: Expected `object`, got `int`"),
    (
        "[default]\ntimeouts = { quit = 5 }",
        "[default] timeouts 'quit' is no key that this version obeys: connect, ehlo",
    ),
    ("[sites.google]\ntimeouts = { rcpt = 0 }", "[sites.google] timeouts rcpt: Expected `float` > 0.0"),
    ("[default]\nidle = nan", "[default] idle: "),
    ("[default]\nidle = 12:00:00", "[default] idle: Expected `float | str`"),
    ("[default]\nmails_behind = 11", "[default] mails_behind: Expected `int` <= 10"),
    ("[default]\ntls = 'maybe'", "[default] tls: expected one of off, opportunistic, required, verify"),
    ("[default]\ntls = 1", "[default] tls: expected one of off, opportunistic, required, verify"),
    ("default = 1", "[default] is not a table"),
    ("sites = []", "[sites] is not a table"),
    ("[sites]\ngoogle = 5", "[sites.google] is not a table"),
    ("[sites.Google]\nmx = ['.x.test']", "[sites.Google] is not the name of a site"),
    ("[sites.googel]\nconnections = 1", "[sites.googel] is of no mail host: give it mx"),
    ("[sites.'mail.example.org']\nconnections = 1", "[sites.mail.example.org] is of no mail host"),
    ("[sites.'gmx.net']\nconnections = 1", "[sites.gmx.net] is of no mail host"),
    ("[sites.x]\nmx = []", "[sites.x] mx: Expected `array` of length >= 1"),
    ("[sites.x]\nmx = '.x.test'", "[sites.x] mx: Expected `array`, got `str`"),
    ("[sites.x]\nmx = ['.X.test']", "[sites.x] mx: '.X.test' is neither a mail host nor"),
    ("[sites.x]\nmx = ['*.x.test']", "[sites.x] mx: '*.x.test' is neither"),
    ("[sites.x]\nmx = ['.a.test']\n[sites.y]\nmx = ['.a.test']", "[sites.y] mx: .a.test belongs to [sites.x] already"),
    ("[sites.smarthost]\ntls = 'off'", "[sites.smarthost] has neither mx nor tls: MAILWARREN_SMTP_URL decides"),
    ("[sites.smarthost]\nmx = ['.a.test']", "[sites.smarthost] has neither mx nor tls"),
    ("[sites.google", "not TOML: "),
    ("[default]\nidle = 1\nidle = 2", "not TOML: "),
    ("x = " + "[" * 5000, "nested too deeply"),
    ("x = " + "9" * 5000, "not TOML: "),
    ("#" * 2**20 + "\n", "more than 1048576 octets"),
    ("".join(f"[sites.s{n}]\nmx = ['.s{n}.test']\n" for n in range(501)), "[sites] is not a table of at most 500"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_what_cannot_be_obeyed_is_refused_by_row_and_key(text: str, reason: str) -> None:
    with pytest.raises(RulesError) as error:
        over(text)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RulesError) as error:
        over("[default]\nidle = -1\n[sites.google]\nrate = 0\n[sites.x]\nmx = ['.x.test']\ntls = 'no'\n")
    assert [part.split(" ")[0] for part in str(error.value).split("; ")] == ["[default]", "[sites.google]", "[sites.x]"]


def test_octets_that_are_no_text_are_refused() -> None:
    with pytest.raises(RulesError, match="not UTF-8 at octet 1"):
        read_shaping((OURS, b"#\xff"))


keys = st.sampled_from(["connections", "messages_per_connection", "idle", "mails_behind", "tls", "mx", "other"])
values = st.integers() | st.floats() | st.booleans() | st.text(max_size=5) | st.lists(st.text(max_size=9), max_size=3)


@given(rows=st.dictionaries(st.text(max_size=12), st.dictionaries(keys, values)))
def test_rows_are_obeyed_or_refused(rows: dict[str, dict[str, object]]) -> None:
    """Whatever a row says, mail can go afterwards, or the file is refused."""
    lines = []
    for name, row in rows.items():
        lines.append(f"[sites.{_toml(name)}]")
        lines += [f"{key} = {_toml(value)}" for key, value in row.items()]
    try:
        shaping = over("\n".join(lines))
    except RulesError:
        return
    assert set(rows) <= shaping.names
    assert all(shaping.policy(name).limits.connections >= 1 for name in rows)


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_breaks_the_reader(data: bytes) -> None:
    try:
        shaping = read_shaping((OURS, data))
    except RulesError:
        return
    assert shaping.names == read_shaping((OURS,)).names


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower()
