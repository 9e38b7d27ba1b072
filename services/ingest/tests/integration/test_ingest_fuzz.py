"""Schemathesis on every route of the OpenAPI document: no crash, and no answer that the document does not describe.

Half of the calls are about things that are there, one of each kind (:mod:`known_things`). The same examples each time;
``make fuzz`` tries many more (``MAILWARREN_FUZZ_EXAMPLES``). The API has a database and a topology of its own, because
what is made up may suspend a site or purge what waits.
"""

import os
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from known_things import LEDGER, MADE, filled, parts, path_of
from private_dns import private_dns
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from mailwarren.devstack.broker_names import delete_prefixed
from mailwarren.devstack.databases import create_database, drop_database, run_apart, with_database
from mailwarren.ingest.api.docs import openapi
from mailwarren.ingest.api.tables import ENDPOINTS
from mailwarren.ingest.commands.broker import apply_topology
from mailwarren.ingest.commands.database import bootstrap, migrate
from mailwarren.runtime.vault import new_key
from mailwarren.store.engine import dsn

EXAMPLES = int(os.environ.get("MAILWARREN_FUZZ_EXAMPLES", "6"))
ROUTES = sorted(((one.path, one.method) for one in ENDPOINTS), key=lambda route: (route[1] == "DELETE", route))
"""What is known is deleted last."""
OF_THE_ROUTER = {404, 405}
"""A made-up part of a path may make it another path, or none."""


@dataclass
class Api:
    """Where it is, and a session with a full-access key."""

    root: str
    schema: Any
    session: requests.Session
    known: dict[str, dict[str, str]]
    """Ids by the names of :data:`known_things.MADE`: for who reads, who changes, and of mail that was sent."""


@pytest.fixture(scope="module")
def api(rabbitmq, postgres_server, place, server, tmp_path_factory):
    """An API that shares nothing but the servers."""
    name = f"mailwarren_test_fuzz_{secrets.token_hex(4)}"
    ours = type(place)(rabbitmq.amqp_url, dsn(with_database(postgres_server, name)), f"tf{secrets.token_hex(3)}.")
    keys = tmp_path_factory.mktemp("keys") / "data.keys"
    keys.write_text(new_key() + "\n")
    create_database(postgres_server, name)
    run_apart(migrate(ours.database_url, 10))
    apply_topology(ours.amqp_url, ours.topology, 10)
    token = run_apart(bootstrap(ours.database_url, "fuzz", None, None, 10))["token"]
    with private_dns() as dns, requests.Session() as session:
        running = type(server)(
            ours.settings(
                read_wait=0.01, data_keys=keys, internal_token="t" * 32, resolver=dns.address, retry_scale=0.01
            )
        )
        session.headers["Authorization"] = f"Bearer {token}"
        schema = schemathesis.openapi.from_dict(openapi(ENDPOINTS, "1"))
        api = Api(running.root, schema, session, {})
        api.known = {word: make(api, word) for word in ("read", "changed")}
        sent = api.known["read"]["sent"]
        for statement in LEDGER:
            ours.sql(statement, UUID(sent))
        api.known["ledger"] = api.known["read"] | {"email": sent}
        yield api
        running.stop()
    delete_prefixed(ours.amqp_url, ours.prefix, rabbitmq.management_url)
    drop_database(postgres_server, name)


def make(api: Api, word: str) -> dict[str, str]:
    """One thing of each kind, every answer as the document says."""
    known = {"word": word}
    for name, method, path, body in MADE:
        said = filled(body, known)
        sent = {"data": said, "headers": {"content-type": "text/csv"}} if isinstance(said, str) else {"json": said}
        answered = api.session.request(method, api.root + filled(path, known), **sent)
        assert answered.ok, (name, answered.text)
        api.schema[path_of(path, api.schema)][method].validate_response(answered)
        if isinstance(found := answered.json(), dict) and "id" in found:
            known[name] = found["id"]
    return known


def cases(operation: Any, endpoint: Any) -> Any:
    """What the document allows, and where there is something to say wrongly, what it does not."""
    found = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if endpoint.request is None and not endpoint.query and not endpoint.headers and "{" not in endpoint.path:
        return found
    return st.one_of(found, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))


def described(operation: dict[str, Any], status: int) -> bool:
    return str(status) in operation["responses"] or status in OF_THE_ROUTER


@pytest.mark.parametrize(("path", "method"), ROUTES, ids=[f"{method} {path}" for path, method in ROUTES])
def test_no_answer_crashes_or_is_off_its_schema(api, path, method):
    (endpoint,) = (one for one in ENDPOINTS if (one.path, one.method) == (path, method))
    documented = api.schema.raw_schema["paths"][path][method.lower()]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(api.schema[path][method], endpoint), about=st.sampled_from(["made up", "read", "ledger"]))
    def run(case: Any, about: str) -> None:
        if about != "made up" and case.path_parameters:
            whose = about if method == "GET" else "changed"
            case.path_parameters = parts(path, api.known[whose])
        answered = case.call(base_url=api.root, session=api.session)
        assert described(documented, answered.status_code), (answered.status_code, answered.text)
        checks = [not_a_server_error]
        if str(answered.status_code) in documented["responses"]:
            checks += [response_schema_conformance, content_type_conformance]
        case.validate_response(answered, checks=checks)

    run()


def test_a_status_that_is_not_described_is_noticed():
    documented = openapi(ENDPOINTS, "1")["paths"]["/v1/emails"]["post"]
    assert described(documented, 422)
    assert described(documented, 404)
    assert not described(documented, 500)
    assert not described(documented, 418)
