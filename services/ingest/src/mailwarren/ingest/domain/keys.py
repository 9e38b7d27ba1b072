"""API keys: who calls, and what the caller may do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from mailwarren.ingest.domain.addresses import InvalidAddress, parse_address
from mailwarren.ingest.domain.refusal import foreign_domain, foreign_grant, invalid, missing
from mailwarren.ingest.domain.requests import Permission

MAX_NAME = 50
MAX_DOMAINS = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that exists. ``domains`` None means that it may send from any domain."""

    id: UUID
    tenant: UUID
    permission: Permission
    domains: tuple[str, ...] | None = None

    def check_sender(self, domain: str) -> None:
        """``domain`` is compared exactly: a key for ``example.com`` does not send from ``news.example.com``.

        Raises:
            Refusal: 403.
        """
        if self.domains is not None and domain not in self.domains:
            raise foreign_domain(domain, self.domains)

    def check_grant(self, domains: Sequence[str] | None) -> None:
        """A key that is limited to domains makes only keys that are limited to some of them.

        Raises:
            Refusal: 403.
        """
        if self.domains is not None and (domains is None or not set(domains) <= set(self.domains)):
            raise foreign_grant(self.domains)


def check_name(name: str) -> str:
    """A key's name.

    Raises:
        Refusal: 422.
    """
    name = name.strip()
    if not name:
        raise missing("Missing `name` field: give the key a name.")
    if len(name) > MAX_NAME or _CONTROL.search(name):
        raise invalid(f"Invalid `name` field: at most {MAX_NAME} characters, none of them control characters.")
    return name


def check_domains(domains: Sequence[str] | None) -> list[str] | None:
    """Sending domains in lower case A-labels, each once.

    Raises:
        Refusal: 422.
    """
    if domains is None:
        return None
    if not 0 < len(domains) <= MAX_DOMAINS:
        raise invalid(f"Invalid `domains` field: 1 to {MAX_DOMAINS} domains, or null for any.")
    found: dict[str, None] = {}
    for index, domain in enumerate(domains):
        try:
            found[parse_address(f"postmaster@{domain}").rpartition("@")[2]] = None
        except InvalidAddress as error:
            raise invalid(f"Invalid `domains[{index}]` field: {error}") from error
    return list(found)
