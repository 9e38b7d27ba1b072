"""What the counters of ``email_metrics`` have to add up to: a recount of the facts.

A delivery counts from the moment when its acceptance is recorded, which is when the domain of its sender is known
(``deliveries.sender_domain``); one that a release before recorded has none, and counts nowhere.
"""

from typing import Final

from mailwarren.contracts.bounces import TRANSIENT
from mailwarren.contracts.counters import AFTER_DELIVERY, COUNTERS, NO_BROADCAST, QUARTER
from mailwarren.contracts.tracking import COUNTED

_TRANSIENT = ", ".join(f"'{name}'" for name in TRANSIENT)
_AFTER = ", ".join(f"'{name}'" for name in AFTER_DELIVERY)
_COUNTED = ", ".join(sorted(f"'{flag or ''}'" for flag in COUNTED))

FACTS: Final = f"""
SELECT d.tenant, d.id AS delivery, d.email_id, d.sender_domain AS domain,
  coalesce(d.broadcast, '{NO_BROADCAST}'::uuid) AS broadcast, x.at, x.what
FROM deliveries d CROSS JOIN LATERAL (VALUES
  (d.accepted_at, 'received'),
  (d.accepted_at, CASE WHEN d.state NOT IN ('suppressed', 'canceled') THEN 'sent' END),
  (d.deferred_at, 'delivery_delayed'),
  (d.opened_at, 'unique_opened'),
  (d.clicked_at, 'unique_clicked'),
  (d.ended_at, CASE
    WHEN d.state = 'bounced' THEN CASE
      WHEN coalesce(d.bounce_class, '') = '' THEN 'bounced_undetermined'
      WHEN d.bounce_class IN ({_TRANSIENT}) THEN 'bounced_transient'
      ELSE 'bounced_permanent' END
    WHEN d.state IN ('failed', 'expired') THEN 'failed'
    WHEN d.state IN ('delivered', 'suppressed') THEN d.state END)
) AS x (at, what)
WHERE d.sender_domain IS NOT NULL AND x.at IS NOT NULL AND x.what IS NOT NULL
UNION ALL
SELECT d.tenant, d.id, e.email_id, d.sender_domain, coalesce(d.broadcast, '{NO_BROADCAST}'::uuid), e.at, e.kind
FROM events e JOIN deliveries d ON d.id = e.delivery_id
WHERE d.sender_domain IS NOT NULL AND e.kind IN ({_AFTER}) AND coalesce(e.flag, '') IN ({_COUNTED})
"""  # noqa: S608 - constants
"""Each thing that is counted, as a row: whose, of which mail, when, and the counter's name.

Events are found by their email, which they have an index of."""

DRIFT: Final = f"""
WITH facts AS (
  SELECT tenant, to_timestamp(floor(extract(epoch FROM at) / {QUARTER}) * {QUARTER}) AS quarter, domain, broadcast,
    what, count(*) AS number
  FROM ({FACTS}) AS f
  WHERE at >= $1 AND at < $2 GROUP BY 1, 2, 3, 4, 5
), counted AS (
  SELECT m.tenant, m.quarter, m.domain, m.broadcast, x.what, x.number
  FROM email_metrics m CROSS JOIN LATERAL (VALUES {", ".join(f"('{name}', m.{name})" for name in COUNTERS)}
  ) AS x (what, number)
  WHERE m.quarter >= $1 AND m.quarter < $2 AND x.number <> 0
)
SELECT tenant, quarter, domain, broadcast, what, coalesce(c.number, 0) AS counted, coalesce(f.number, 0) AS facts
FROM counted c FULL JOIN facts f USING (tenant, quarter, domain, broadcast, what)
WHERE c.number IS DISTINCT FROM f.number
ORDER BY quarter, tenant, domain, broadcast, what LIMIT $3
"""  # noqa: S608 - constants
"""Where the counters say other than the facts, between two beginnings of quarters: nothing, or a bug."""
