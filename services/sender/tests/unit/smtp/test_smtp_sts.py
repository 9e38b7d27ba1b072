"""MTA-STS records and policies, as RFC 8461 writes them and as people do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sender.smtp.sts import StsInvalid, StsMode, read_policy, read_record

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "ident"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=1"], "1"),
        (["v=STSv1 ; x=y; id = a1 ;"], "a1"),
        (["v=spf1 -all", "v=STSv1; id=1;"], "1"),
        ([], None),
        (["v=STSv1"], None),
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=not-alnum;"], None),
        (["v=STSv1; id=" + "a" * 33 + ";"], None),
        (["v=STSv2; id=1;"], None),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
        (["id=1; v=STSv1;"], None),
    ],
)
def test_exactly_one_record_announces_a_policy(texts, ident):
    assert read_record(texts) == ident


def test_a_policy_is_read():
    policy = read_policy(GOOD)
    assert (policy.mode, policy.mx, policy.max_age) == (
        StsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604_800,
    )  # fmt: skip
    assert policy.lines[0] == "version: STSv1"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("a.example.net", True),
        ("example.net", False),
        ("a.b.example.net", False),
        ("other.example.com", False),
        ("xexample.net", False),
    ],
)
def test_a_wildcard_is_one_whole_label_on_the_left(host, allowed):
    assert read_policy(GOOD).allows(host) is allowed


@pytest.mark.parametrize(
    "text",
    [
        b"version: STSv1\nmode: testing\nmax_age:1\nmx:a.example",
        b"\nversion: STSv1\n\nmode: none\nmax_age: 0\n",
        b"max_age: 31557600\nmode: enforce\nmode: none\nmx: A.Example.\nversion: STSv1\nlater-key: what?\n",
    ],
)
def test_what_is_odd_and_right_is_read(text):
    assert read_policy(text).mode in StsMode


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "version"),
        (b"\xff\xfe", "UTF-8"),
        (b"version: STSv2\nmode: none\nmax_age: 1", "version"),
        (b"version: STSv1\nmode: strict\nmax_age: 1", "mode"),
        (b"version: STSv1\nmode: none", "max_age"),
        (b"version: STSv1\nmode: none\nmax_age: -1", "max_age"),
        (b"version: STSv1\nmode: none\nmax_age: 31557601", "max_age"),
        (b"version: STSv1\nmode: none\nmax_age: 99999999999999999999", "max_age"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1", "no mx"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\nmx: *", "neither"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\nmx: a.*.example", "neither"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\n" + b"mx: a.example\n" * 101, "neither"),
        (b"version: STSv1\nmode: none\nmax_age: 1\nwhatever", "key: value"),
        (b"version: STSv1\nmode: none\nmax_age: 1\nx: a\x00b", "control"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_reason(text, why):
    with pytest.raises(StsInvalid, match=why):
        read_policy(text)


@given(st.binary(max_size=300))
def test_any_octets_are_a_policy_or_refused(body):
    try:
        policy = read_policy(body)
    except StsInvalid:
        return
    assert policy.lines[0]
