"""``/v1/tls-reports``: how TLS with the recipients' mail hosts went."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.ingest.api.answers.tls_reports import DateRange, Failure, Policy, PolicyCounts, Summary, TlsReport
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.tls_reports import Counted, Wanted, fold, parse_wanted


async def read(call: Call) -> Answer:
    """``GET /v1/tls-reports``."""
    wanted = parse_wanted(call.query, datetime.now(UTC).date())
    rows = await call.services.tls_reports.counts(call.key.tenant, wanted)
    return answer(_report(call.key.tenant, wanted, rows))


def _report(tenant: UUID, wanted: Wanted, rows: Sequence[Any]) -> TlsReport:
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    shown = set(domains[: wanted.limit])
    return TlsReport(
        organization_name=wanted.organization,
        date_range=_range(wanted.day),
        contact_info=wanted.contact,
        report_id=f"{wanted.day}-{tenant}",
        policies=[_policy(one) for one in fold(row for row in rows if row["domain"] in shown)],
        has_more=len(domains) > wanted.limit,
    )


def _range(day: date) -> DateRange:
    start = datetime.combine(day, time(), UTC)
    return DateRange(start_datetime=start, end_datetime=start + timedelta(days=1, seconds=-1))


def _policy(counted: Counted) -> PolicyCounts:
    return PolicyCounts(
        policy=Policy(
            policy_type=counted.policy,
            policy_string=list(counted.policy_string) or msgspec.UNSET,
            policy_domain=counted.domain,
            mx_host=list(counted.mx_host) or msgspec.UNSET,
        ),
        summary=Summary(total_successful_session_count=counted.good, total_failure_session_count=counted.bad),
        failure_details=[
            Failure(
                result_type=row["result"],
                receiving_mx_hostname=row["mx"] or msgspec.UNSET,
                receiving_ip=row["ip"] or msgspec.UNSET,
                failed_session_count=row["sessions"],
                failure_reason_code=row["detail"] or msgspec.UNSET,
            )
            for row in counted.failures
        ]
        or msgspec.UNSET,
    )
