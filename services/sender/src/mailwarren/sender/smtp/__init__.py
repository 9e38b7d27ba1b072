"""The SMTP engine: pipelined, connections kept per site, thousands of them in one process.

``Routes.site_for`` says where a domain's mail goes, ``Pool.send`` takes one mail there. Both belong to one event loop.

**Values, never exceptions**: whatever a server, the network or DNS does. ``Pool.send`` returns a ``Result`` whose
``outcome`` is one of

- ``Reply``: the server's answer that decided this recipient; ``command`` names the stage, ``dot`` being the answer to
  the message itself. 4yz and 5yz look like 2yz here: what they mean is for the caller to say.
- ``Unreachable``: no answer decided it. With ``dot_sent`` the server may have the mail; without, it has not.
- ``Refused``: this server cannot be sent this mail (SMTPUTF8, SIZE); nothing was tried.
- ``Abandoned``: the caller's gate closed, the pool did, or the rules changed so that the mail goes another way, before
  the message was written.

``Routes.site_for`` returns a ``Site``, a ``DnsFailure``, permanent or not, or a ``PolicyFailure``: the domain's mail
may go to none of its hosts, by what it says about their TLS.

**Exceptions**: ``ValueError`` for what can never be sent or configured (an address with a line end in ``Envelope``, a
bad URL, name server or limit), raised when the thing is built; whatever the caller's gate raises; cancellation, which
drops the connection in use.

**Who retries**: nobody in here, but for two cases that cannot send a mail twice and that the caller never sees. A kept
connection that proves dead or used up (421, 503 or a session limit in answer to MAIL) before any message data is
replaced by a fresh one, once; and where no session comes about, or a host cannot be sent the mail, the site's other
hosts are tried in MX order. Hosts that failed are skipped for seconds.
All else, above all a connection lost after the final dot, is the caller's to retry.

**Message data** is written only after the gate said yes, in wire form made once by ``prepare_data``; for a mail
that is signed, by ``end_lines`` before it is and ``stuff_dots`` and ``assemble_data`` after.
"""

from mailwarren.contracts.reply import Command, Reply
from mailwarren.sender.smtp.brokentls import BrokenTls
from mailwarren.sender.smtp.client import ClientSettings
from mailwarren.sender.smtp.envelope import (
    Envelope,
    WireData,
    assemble_data,
    end_lines,
    prepare_data,
    prepare_pieces,
    stuff_dots,
)
from mailwarren.sender.smtp.mx import DnsFailure, Resolver
from mailwarren.sender.smtp.pool import MakeData, Pool, PoolStats
from mailwarren.sender.smtp.result import (
    Abandoned,
    MaySend,
    Outcome,
    PolicyFailure,
    Refused,
    Result,
    Unreachable,
    UnreachableKind,
)
from mailwarren.sender.smtp.route import SMARTHOST, Routes
from mailwarren.sender.smtp.shaping import Shaping, SitePolicy
from mailwarren.sender.smtp.share import Share, Watch
from mailwarren.sender.smtp.site import Auth, Host, Site, SiteLimits, Source, TlsMode
from mailwarren.sender.smtp.sitestate import SiteStats
from mailwarren.sender.smtp.stscache import StsCache
from mailwarren.sender.smtp.timeouts import SiteTimeouts, Timeouts
from mailwarren.sender.smtp.tls import TlsContexts
from mailwarren.sender.smtp.tlsproblem import TlsProblem
from mailwarren.sender.smtp.url import SmtpUrl, parse_smtp_url

__all__ = [
    "SMARTHOST",
    "Abandoned",
    "Auth",
    "BrokenTls",
    "ClientSettings",
    "Command",
    "DnsFailure",
    "Envelope",
    "Host",
    "MakeData",
    "MaySend",
    "Outcome",
    "PolicyFailure",
    "Pool",
    "PoolStats",
    "Refused",
    "Reply",
    "Resolver",
    "Result",
    "Routes",
    "Shaping",
    "Share",
    "Site",
    "SiteLimits",
    "SitePolicy",
    "SiteStats",
    "SiteTimeouts",
    "SmtpUrl",
    "Source",
    "StsCache",
    "Timeouts",
    "TlsContexts",
    "TlsMode",
    "TlsProblem",
    "Unreachable",
    "UnreachableKind",
    "Watch",
    "WireData",
    "assemble_data",
    "end_lines",
    "parse_smtp_url",
    "prepare_data",
    "prepare_pieces",
    "stuff_dots",
]
