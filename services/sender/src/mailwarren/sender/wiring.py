"""From settings to the SMTP engine's parts."""

import socket

from mailwarren.sender.settings import SenderSettings
from mailwarren.sender.smtp import (
    SMARTHOST,
    ClientSettings,
    Pool,
    Resolver,
    Routes,
    SiteLimits,
    SitePolicy,
    Timeouts,
    TlsContexts,
    default_policy,
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


def build_routes(settings: SenderSettings) -> Routes:
    """Through the smarthost when there is one, else to the recipients' mail hosts.

    Raises:
        ValueError: the SMTP URL or the resolver's address is wrong; the text says how, without the password.
    """
    through = SitePolicy(
        SiteLimits(
            connections=settings.connections,
            messages_per_connection=settings.messages_per_connection,
            behind=settings.mails_behind,
        )
    )

    def policy(site: str) -> SitePolicy:
        return through if site == SMARTHOST else default_policy(site)

    url = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    if url:
        return Routes(smarthost=parse_smtp_url(url), policy=policy)
    resolver = Resolver([settings.resolver] if settings.resolver else None)
    return Routes(resolver=resolver, mx_port=settings.mx_port, policy=policy)
