"""The configuration of the private Postfix: what the system's would be, tuned for passing mail on."""

from collections.abc import Mapping
from pathlib import Path

CONCURRENCY = 20
"""Connections to the next hop. 50 is no faster on two cores: Postfix is bound by CPU there, not by connections."""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
daemon_directory = {daemon_directory}
command_directory = {command_directory}
meta_directory = {meta_directory}
shlib_directory = {shlib_directory}
mail_owner = {mail_owner}
setgid_group = {setgid_group}
maillog_file = {home}/postfix.log
maillog_file_prefixes = {home}

# Reachable from here alone, final destination of nothing.
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = relay.test
smtpd_banner = $myhostname ESMTP {home}
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject

# Everything to one next hop, without DNS.
relayhost = [{relay_host}]:{relay_port}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no

default_destination_concurrency_limit = {concurrency}
initial_destination_concurrency = {concurrency}
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
"""
_SERVICES = """\
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def write(home: Path, defaults: Mapping[str, str], *, listen: str, relay: str, connections: int = CONCURRENCY) -> Path:
    """Write ``main.cf`` and ``master.cf``; returns their folder.

    Args:
        home: where queue, data and log will be.
        defaults: of the installed Postfix: its directories, its user and its group.
        listen: ``host:port``.
        relay: ``host:port`` of the next hop.
        connections: to it, at once.
    """
    folder = home / "etc"
    folder.mkdir(exist_ok=True)
    host, _, port = relay.rpartition(":")
    values = {"home": home, "relay_host": host, "relay_port": port, "concurrency": connections, **defaults}
    (folder / "main.cf").write_text(_MAIN.format_map(values))
    (folder / "master.cf").write_text(_SERVICES.format(listen=listen))
    return folder
