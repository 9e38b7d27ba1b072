"""From settings to the SMTP engine's parts."""

import socket

from mailwarren.sender.rules.book import RuleBook
from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.smtp import (
    ClientSettings,
    Pool,
    Resolver,
    Routes,
    Shaping,
    SiteLimits,
    Timeouts,
    TlsContexts,
    parse_smtp_url,
)


def build_pool(settings: SenderSettings) -> Pool:
    """The connections of this process."""
    return Pool(
        ClientSettings(
            helo_name=settings.helo or socket.getfqdn(),
            contexts=TlsContexts(settings.tls_ca_file),
            timeouts=Timeouts(final_dot=settings.dot_timeout),
        )
    )


def open_rules(settings: SenderSettings) -> RuleBook:
    """The rules: ours, and the operator's files over them.

    Raises:
        RulesError: a file cannot be obeyed.
    """
    through = SiteLimits(
        connections=settings.connections,
        messages_per_connection=settings.messages_per_connection,
        behind=settings.mails_behind,
    )
    return RuleBook(shaping_file=settings.shaping_file, replies_file=settings.replies_file, smarthost=through)


def build_routes(settings: SenderSettings, rules: RuleBook) -> Routes:
    """Through the smarthost when there is one, else to the recipients' mail hosts.

    Raises:
        ValueError: the SMTP URL or the resolver's address is wrong; the text says how, without the password.
    """

    def shaping() -> Shaping:
        return rules.shaping

    url = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    if url:
        return Routes(smarthost=parse_smtp_url(url), shaping=shaping)
    resolver = Resolver([settings.resolver] if settings.resolver else None)
    return Routes(resolver=resolver, mx_port=settings.mx_port, shaping=shaping)
