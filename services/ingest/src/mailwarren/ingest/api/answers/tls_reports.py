"""Answers of ``/v1/tls-reports``, in the names of RFC 8460 §4.4."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from mailwarren.contracts.tls import TlsPolicy


class DateRange(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """The UTC day."""

    start_datetime: datetime
    end_datetime: datetime


class Policy(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """The policy that held; ``policy-string`` and ``mx-host`` as the domain published them."""

    policy_type: TlsPolicy
    policy_string: list[str] | msgspec.UnsetType = msgspec.UNSET
    policy_domain: str
    mx_host: list[str] | msgspec.UnsetType = msgspec.UNSET


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Negotiations by how they ended."""

    total_successful_session_count: int
    total_failure_session_count: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Negotiations with one host that failed for one reason."""

    result_type: Annotated[str, Meta(description="RFC 8460 §4.3.")]
    receiving_mx_hostname: str | msgspec.UnsetType = msgspec.UNSET
    receiving_ip: str | msgspec.UnsetType = msgspec.UNSET
    failed_session_count: int
    failure_reason_code: Annotated[str | msgspec.UnsetType, Meta(description="Of the latest, in words.")] = (
        msgspec.UNSET
    )


class PolicyCounts(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What became of negotiations under one policy of one domain."""

    policy: Policy
    summary: Summary
    failure_details: list[Failure] | msgspec.UnsetType = msgspec.UNSET


class TlsReport(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """One day, all domains or one: a report to a domain is this with its ``domain`` asked for alone."""

    organization_name: str
    date_range: DateRange
    contact_info: str
    report_id: str
    policies: list[PolicyCounts]
    has_more: Annotated[bool, Meta(description="Ours: there are more domains; ask with `after_domain` the last one.")]
