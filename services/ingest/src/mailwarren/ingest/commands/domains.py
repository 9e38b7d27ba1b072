"""``mailwarren domains``: sending domains through the API, as lines for people or as JSON."""

from typing import Any

from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.api import Api

UUID_LENGTH = 36


def list_domains(api: Api, *, plain: bool) -> list[Any]:
    """All domains.

    Raises:
        Failed: the API said no; so for all of these.
    """
    rows: list[dict[str, Any]] = api.get("/domains")["data"]
    if not plain:
        return list(rows)
    width = max((len(row["name"]) for row in rows), default=0)
    return [f"{row['id']}  {row['name']:<{width}}  {row['status']}" for row in rows]


def add_domain(api: Api, name: str, return_path: str | None, *, plain: bool) -> Any:
    """Add one."""
    body = {"name": name} | ({"custom_return_path": return_path} if return_path else {})
    made = api.post("/domains", body)
    return _lines(made) if plain else made


def do(api: Api, verb: str, domain: str, *, plain: bool) -> Any:
    """Verify or rotate one."""
    done = api.post(f"/domains/{_id_of(api, domain)}/{verb}", None)
    return _lines(done) if plain else done


def _id_of(api: Api, domain: str) -> str:
    if len(domain) == UUID_LENGTH and "." not in domain:
        return domain
    wanted = domain.lower().rstrip(".")
    for row in api.get("/domains")["data"]:
        if row["name"] == wanted:
            return str(row["id"])
    raise Failed(f"there is no domain {domain}; `mailwarren domains add {domain}` adds it")


def _lines(domain: dict[str, Any]) -> list[str]:
    lines = [f"{domain['name']}: {domain['status']}"]
    for record in domain["records"]:
        value = f"{record['priority']} {record['value']}." if "priority" in record else f'"{record["value"]}"'
        notes = [f"{record['key']} key"] if record["key"] else []
        notes += [] if record["needed"] else ["optional"]
        shown = f" ({', '.join(notes)})" if notes else ""
        lines += ["", f"{record['name']}. {record['type']} {value}"]
        lines.append(f"    {record['record']}{shown}: {record['status']}")
        if record["problem"]:
            lines.append(f"    {record['problem']}")
            lines += [f"    found: {found}" for found in record["found"]]
    return lines
