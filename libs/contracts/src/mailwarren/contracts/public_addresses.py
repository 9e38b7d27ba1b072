"""Which addresses of the network are everybody's: the others are not fetched from for a caller."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_NOT_OURS = (IPv4Network("168.63.129.16/32"),)
"""Public by number, and not by what answers: Azure's own service for its machines."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's, also when it carries another one inside."""
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NOT_OURS if network.version == address.version)
    )


def _inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: mapped, 6to4, Teredo, NAT64, or compatible (RFC 4291 §2.5.5.1)."""
    if isinstance(address, IPv4Address):
        return None
    if (found := address.ipv4_mapped or address.sixtofour) is not None:
        return found
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64) or not int(address) >> 32:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
