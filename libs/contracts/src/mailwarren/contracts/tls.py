"""TLS between mail servers, as it is told from part to part: what a mail asks for, and how negotiations ended."""

from enum import StrEnum

import msgspec


class TlsNeed(StrEnum):
    """How much TLS one mail asks for, beside what its site and its recipients' domain do."""

    REQUIRED = "required"
    """Not without TLS, whatever the certificate where no policy of the domain checks it."""


class TlsPolicy(StrEnum):
    """Whose rule a connection's TLS had to keep; the values are the policy types of RFC 8460 §4.4."""

    DANE = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class TlsSession(msgspec.Struct, frozen=True, omit_defaults=True):
    """One negotiation of TLS with a mail host, or one look for a policy that failed: what RFC 8460 counts.

    Told once, with the attempt that it was made for: the mails behind it on the same connection tell nothing.

    Attributes:
        domain: The policy domain: the recipients'.
        policy: Whose rule it had to keep.
        result: A result type of RFC 8460 §4.3; empty when it went well.
        mx: The mail host, empty where there was none yet.
        ip: Its address.
        text: What went wrong, for people.
        policy_string: The policy as it was published.
        mx_host: The patterns of mail hosts in it.
    """

    domain: str
    policy: TlsPolicy
    result: str = ""
    mx: str = ""
    ip: str = ""
    text: str = ""
    policy_string: tuple[str, ...] = ()
    mx_host: tuple[str, ...] = ()
