"""What can be wrong with a host's TLS, and how a failed handshake is read as one of it."""

import ssl
from enum import StrEnum


class TlsProblem(StrEnum):
    """Why TLS as it had to be could not be had; each is a bounce class of its own."""

    NOT_OFFERED = "tls_not_offered"
    """The server offers no STARTTLS."""
    REFUSED = "tls_refused"
    """The server offers STARTTLS and refuses it."""
    HANDSHAKE = "tls_handshake"
    """The handshake broke: no TLS came, nothing came, no cipher in common, the connection was lost."""
    OLD_VERSION = "tls_old_version"
    """The server has no TLS as new as 1.2."""
    EXPIRED = "tls_expired"
    NOT_YET_VALID = "tls_not_yet_valid"
    SELF_SIGNED = "tls_self_signed"
    UNTRUSTED = "tls_untrusted"
    """No authority that is trusted here vouches for the certificate."""
    WRONG_NAME = "tls_wrong_name"
    CERTIFICATE = "tls_certificate"
    """Anything else about the certificate: its purpose, its key, its signature."""
    TLSA_MISMATCH = "tls_tlsa_mismatch"
    """No TLSA record fits the certificates that the server shows (RFC 7672)."""
    DNSSEC = "tls_dnssec"
    """DNS could not say with certainty whether the host has TLSA records."""
    STS_MX = "tls_sts_mx"
    """The domain's MTA-STS policy names none of its mail hosts (RFC 8461 §4.1)."""

    @property
    def report(self) -> str:
        """The result type of RFC 8460 §4.3 that counts it."""
        return _REPORTED.get(self, "validation-failure")

    @property
    def breaks(self) -> bool:
        """Whether TLS does not work at all with the server, whatever its certificate."""
        return self in {TlsProblem.HANDSHAKE, TlsProblem.OLD_VERSION}


_REPORTED = {
    TlsProblem.NOT_OFFERED: "starttls-not-supported",
    TlsProblem.EXPIRED: "certificate-expired",
    TlsProblem.SELF_SIGNED: "certificate-not-trusted",
    TlsProblem.UNTRUSTED: "certificate-not-trusted",
    TlsProblem.WRONG_NAME: "certificate-host-mismatch",
    TlsProblem.DNSSEC: "dnssec-invalid",
}

_VERIFY_CODES = {
    2: TlsProblem.UNTRUSTED,  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
    9: TlsProblem.NOT_YET_VALID,  # X509_V_ERR_CERT_NOT_YET_VALID
    10: TlsProblem.EXPIRED,  # X509_V_ERR_CERT_HAS_EXPIRED
    18: TlsProblem.SELF_SIGNED,  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    19: TlsProblem.UNTRUSTED,  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
    20: TlsProblem.UNTRUSTED,  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: TlsProblem.UNTRUSTED,  # X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
    62: TlsProblem.WRONG_NAME,  # X509_V_ERR_HOSTNAME_MISMATCH
    64: TlsProblem.WRONG_NAME,  # X509_V_ERR_IP_ADDRESS_MISMATCH
}
"""OpenSSL's codes of a verification that failed (x509_vfy.h)."""

_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"})


def read_problem(error: BaseException | None) -> TlsProblem:
    """What a handshake that ended with ``error`` says of the server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, TlsProblem.CERTIFICATE)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if reason in _OLD or reason.endswith("ALERT_PROTOCOL_VERSION"):
            return TlsProblem.OLD_VERSION
    return TlsProblem.HANDSHAKE
