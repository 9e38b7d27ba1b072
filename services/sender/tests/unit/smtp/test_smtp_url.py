import pytest

from mailwarren.sender.smtp import Auth, SmtpUrl, TlsMode, parse_smtp_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("smtp://relay.example", SmtpUrl("relay.example", 25, TlsMode.OPPORTUNISTIC)),
        ("smtp://relay.example:2525/", SmtpUrl("relay.example", 2525, TlsMode.OPPORTUNISTIC)),
        ("smtp://127.0.0.1:2525?tls=off", SmtpUrl("127.0.0.1", 2525, TlsMode.OFF)),
        ("smtp://[::1]:25?tls=required", SmtpUrl("::1", 25, TlsMode.REQUIRED)),
        ("smtp://relay?tls=verify", SmtpUrl("relay", 25, TlsMode.VERIFY)),
        ("SMTP+STARTTLS://Relay.Example", SmtpUrl("relay.example", 587, TlsMode.VERIFY)),
        ("smtp+starttls://u:p@relay?verify=no", SmtpUrl("relay", 587, TlsMode.REQUIRED, auth=Auth("u", "p"))),
        ("smtps://u:p@relay", SmtpUrl("relay", 465, TlsMode.VERIFY, implicit_tls=True, auth=Auth("u", "p"))),
        ("smtps://relay:4650?verify=no", SmtpUrl("relay", 4650, TlsMode.REQUIRED, implicit_tls=True)),
        (
            "smtp+starttls://me%40my.example:p%40ss%2F%3A%3Fw%C3%B6rd@relay:25",
            SmtpUrl("relay", 25, TlsMode.VERIFY, auth=Auth("me@my.example", "p@ss/:?wörd")),
        ),
        (
            "smtp://u:p@relay?auth=plaintext",
            SmtpUrl("relay", 25, TlsMode.OPPORTUNISTIC, auth=Auth("u", "p", plaintext=True)),
        ),
    ],
)
def test_urls_are_read(text, url):
    assert parse_smtp_url(text) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an SMTP URL reads"),
        ("relay.example:25", "an SMTP URL reads"),
        ("http://relay", "an SMTP URL reads"),
        ("smtp://", "an SMTP URL reads"),
        ("smtp://:25", "an SMTP URL reads"),
        ("smtp://relay:99999", "an SMTP URL reads"),
        ("smtp://relay:0", "port 0"),
        ("smtp://.relay", "host name or an IP"),
        ("smtp://rel ay", "host name or an IP"),
        ("smtp://relay..example", "host name or an IP"),
        ("smtp://relay/inbox", "no path"),
        ("smtp://relay#x", "no fragment"),
        ("smtp://relay?tls=maybe", "option tls .* is one of off, opportunistic, required, verify"),
        ("smtp://relay?verify=no", "knows the options auth, tls"),
        ("smtps://relay?tls=off", "knows the options auth, verify"),
        ("smtps://relay?verify=perhaps", "is one of no, yes"),
        ("smtp://user@relay", "user and password, or neither"),
        ("smtp://:secret@relay", "user and password, or neither"),
        ("smtp://u:%00secret@relay", "NUL"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse_smtp_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "smtps://u:s3cret#@relay",
        "smtps://u:s3cret?@relay",
        "smtps://u:s3cret/@relay",
        "smtps://u:s3cret[@relay",
        "smtps://u:%ffs3cret@relay",
        "smtps://s3cret:s3cret:@relay:x",
    ],
)
def test_a_wrong_url_never_shows_its_password(text):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_smtp_url(text)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_url_never_shows_its_password():
    assert "s3cret" not in repr(parse_smtp_url("smtps://u:s3cret@relay"))
