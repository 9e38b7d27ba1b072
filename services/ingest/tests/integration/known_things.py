"""One thing of each kind, made over the API: what a fuzzer that knows no id would never find."""

import re
from collections.abc import Iterable
from typing import Any

FROM, TO = "s@fuzz.test", "{word}@x.test"
HTML = "<p>Hello</p>"
UNKNOWN = "00000000-0000-0000-0000-000000000000"
MADE: tuple[tuple[str, str, str, Any], ...] = (
    ("key", "POST", "/v1/api-keys", {"name": "{word}", "permission": "sending_access"}),
    ("domain", "POST", "/v1/domains", {"name": "{word}.test"}),
    ("segment", "POST", "/v1/segments", {"name": "{word}"}),
    ("audience", "POST", "/v1/audiences", {"name": "{word} too"}),
    ("topic", "POST", "/v1/topics", {"name": "{word}", "default_subscription": "opt_in"}),
    ("property", "POST", "/v1/contact-properties", {"key": "{word}", "type": "string", "fallback_value": "free"}),
    (
        "contact", "POST", "/v1/contacts",
        {"email": TO, "first_name": "Ada", "properties": {"{word}": "pro"}, "segments": [{"id": "{segment}"}],
         "topics": [{"id": "{topic}", "subscription": "opt_out"}]},
    ),
    ("again", "POST", "/v1/contacts", {"email": TO}),
    ("member", "POST", "/v1/contacts/{contact}/segments/{audience}", None),
    ("template", "POST", "/v1/templates", {"name": "{word}", "html": HTML, "subject": "S", "from": FROM}),
    ("published", "POST", "/v1/templates/{template}/publish", None),
    ("shown", "POST", "/v1/templates/{template}/preview", {}),
    (
        "broadcast", "POST", "/v1/broadcasts",
        {"segment_id": "{segment}", "from": FROM, "subject": "S", "html": HTML, "name": "{word}"},
    ),
    ("sample", "POST", "/v1/broadcasts/{broadcast}/preview", {}),
    ("webhook", "POST", "/v1/webhooks", {"endpoint": "https://hooks.example.com/{word}", "events": ["email.sent"]}),
    ("suppression", "POST", "/v1/suppressions", {"email": "{word}.gone@x.test"}),
    ("suppressions", "POST", "/v1/suppressions/batch/add", {"emails": ["{word}.gone@x.test", "{word}.left@x.test"]}),
    ("csv", "POST", "/v1/suppressions/csv", "email\n{word}.csv@x.test\n"),
    ("import", "POST", "/v1/contacts/imports", "email\n{word}.import@x.test\n"),
    ("request", "POST", "/v1/privacy/requests", {"type": "export", "email": TO}),
    ("admitted", "POST", "/v1/privacy/admit", {"email": TO}),
    ("override", "POST", "/v1/shaping", {"scope": "site", "name": "{word}.test", "rate": "10/min", "for": "1h"}),
    ("sent", "POST", "/v1/emails", {"from": FROM, "to": TO, "subject": "S", "html": HTML}),
    (
        "email", "POST", "/v1/emails",
        {"from": FROM, "to": TO, "subject": "S", "html": HTML, "scheduled_at": "in 2 days",
         "tags": [{"name": "kind", "value": "{word}"}]},
    ),
    ("batch", "POST", "/v1/emails/batch", [{"from": FROM, "to": TO, "subject": "S", "text": "T"}]),
    (
        "bulk", "POST", "/v1/emails/bulk",
        {"from": FROM, "subject": "S", "html": HTML, "recipients": [{"to": TO}, {"to": "nobody"}]},
    ),
)  # fmt: skip
"""Names, and the calls that make them; in braces what was made before, and a word that tells apart who made it.

A body that is a text is a CSV file."""
LEDGER = (
    """
    INSERT INTO contents (digest, tenant, sender, subject, html, headers, syntax, first_seen)
    SELECT '\\x01', id, 's@fuzz.test', 'S', '<p>Hello</p>', '{}', 'literal', now() FROM tenants WHERE $1::uuid <> id
    """,
    """
    INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, reply_to,
      tags, metadata, message_id, on_unknown)
    SELECT $1, id, now(), 'normal', 0, '\\x01', 's@fuzz.test', 'S', '{read@x.test}', '{}', '{}', '{}',
      '[{"name": "kind", "value": "v"}]', '{}', 'm', 'resend' FROM tenants
    """,
    """
    INSERT INTO deliveries (id, email_id, tenant, address, role, lane, state, attempt, accepted_at, updated_at,
      ended_at, reply_code, reply_text)
    SELECT $1, $1, id, 'read@x.test', 'to', 'normal', 'bounced', 1, now(), now(), now(), 550, 'no' FROM tenants
    """,
    """
    INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, reply_code, reply_text)
    SELECT now(), gen_random_uuid(), $1, $1, id, 'bounced', 1, 550, 'no' FROM tenants
    """,
    """
    INSERT INTO email_attachments (tenant, email_id, id, position, digest, filename, content_type, size, created_at)
    SELECT id, $1, gen_random_uuid(), 0, '\\x02', 'a.pdf', 'application/pdf', 3, now() FROM tenants
    """,
)
"""What the tracker writes about an email of the only tenant."""
KIND = {
    "api-keys": "key", "domains": "domain", "segments": "segment", "audiences": "audience", "topics": "topic",
    "contact-properties": "property", "contacts": "contact", "imports": "import",
    "templates": "template", "broadcasts": "broadcast",
    "webhooks": "webhook", "suppressions": "suppression", "privacy": "request", "shaping": "override",
    "emails": "email", "scheduled": "email",
}  # fmt: skip
"""What the first id of a path is, by the path's word."""
OWN = {"number": "1", "contact": "contact", "event": UNKNOWN, "attachment_id": UNKNOWN}
"""Parts of paths with a name of their own."""


def filled(value: Any, known: dict[str, str]) -> Any:
    """A body or a path with the ids in it."""
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda found: known[found[1]], value)
    if isinstance(value, list):
        return [filled(one, known) for one in value]
    if isinstance(value, dict):
        return {filled(name, known): filled(one, known) for name, one in value.items()}
    return value


def parts(path: str, known: dict[str, str]) -> dict[str, str]:
    """The parts of a path of the document that lead to what is known."""
    words, found = path.split("/"), {}
    for word in re.findall(r"{(\w+)}", path):
        before = words[words.index(f"{{{word}}}") - 1]
        kind = OWN.get(word) or KIND.get(words[2] if before not in KIND else before, "")
        found[word] = known.get(kind, kind or UNKNOWN)
    return found


def path_of(path: str, paths: Iterable[str]) -> str:
    """The path of the document that one of :data:`MADE` is of."""
    form = re.sub(r"{\w+}", "{}", path)
    return next(one for one in paths if re.sub(r"{\w+}", "{}", one) == form)
