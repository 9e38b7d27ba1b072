"""Which systems may be loaded: this machine's, a private network's, a cluster's; any other only when it is meant."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

MEANT = "MAILWARREN_LOAD_ANYWHERE"
"""Variable that lets any address be loaded, when it is 1."""
_OURS = ("localhost", ".localhost", ".local", ".internal", ".test", ".svc")
_CLUSTER = ".svc."
_SCHEMES = frozenset({"http", "https"})


def is_near(host: str) -> bool:
    """Whether a host is a loopback or private address, or a name that only a private network has."""
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:
        name = host.rstrip(".").lower()
        # A name without a dot, such as a Service's or a container's, is resolved by the network that it is in.
        return "." not in name or name.endswith(_OURS) or _CLUSTER in f"{name}."
    return (address.is_private or address.is_loopback) and not address.is_unspecified


def refusal(url: str, *, meant: bool) -> str | None:
    """Why a system may not be loaded; None when it may.

    Args:
        url: the API's base.
        meant: whether :data:`MEANT` says so.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        return f"{url} is no address: {error}."
    if parts.scheme not in _SCHEMES or not host:
        return f"{url} is no address of an API: it begins with http:// or https:// and ends in /v1."
    if meant or is_near(host):
        return None
    return (
        f"{host} is neither this machine nor in a private network, and a load test may make a service useless for "
        f"others and cost money. When it is yours and you mean it: {MEANT}=1"
    )
