from pathlib import Path

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import send_queue_names
from mailwarren.devstack import system
from mailwarren.devstack.ports import DEFAULT_PORTS
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.system import Addresses, Service


def _addresses(smtp_url: str | None = None, prefix: str = "", *, own_accounts: bool = False) -> Addresses:
    return system.choose_addresses(
        amqp_url="amqp://admin:own3r@broker:1/vhost",
        amqp_prefix=prefix,
        management_url="http://admin:own3r@management:2",
        database_url="postgresql://owner:own3r@database:3/db",
        smtp_url=smtp_url,
        retry_scale=0.01,
        own_accounts=own_accounts,
    )


def _queues(service: Service) -> list[str]:
    argv = service.spec.argv
    return argv[argv.index("-Q") + 1].split(",")


def test_every_send_queue_is_consumed_by_exactly_one_sender(tmp_path: Path) -> None:
    services = system.services(_addresses(prefix="p."), LocalDir(tmp_path))

    consumed = [queue for service in services if service.spec.name.startswith("sender-") for queue in _queues(service)]

    assert sorted(consumed) == sorted(send_queue_names(prefix="p."))


def test_there_is_a_sender_for_each_lane_beside_the_rest(tmp_path: Path) -> None:
    names = [service.spec.name for service in system.services(_addresses(), LocalDir(tmp_path))]

    assert names == [
        "sink",
        "ingest",
        "worker",
        "scheduler",
        "tracker",
        "webhooks",
        *(f"sender-{lane}-1" for lane in Lane),
    ]


def test_without_a_relay_the_senders_only_know_the_sink(tmp_path: Path) -> None:
    at = _addresses()
    sender = system.sender(at, LocalDir(tmp_path), Lane.HIGH, 1)

    assert sender.spec.env["MAILWARREN_SMTP_URL"] == f"smtp://127.0.0.1:{at.sink_smtp}"


def test_with_a_relay_the_senders_use_it(tmp_path: Path) -> None:
    url = "smtp+starttls://user:pass@relay.example:587"
    sender = system.sender(_addresses(url), LocalDir(tmp_path), Lane.BULK, 1)

    assert sender.spec.env["MAILWARREN_SMTP_URL"] == url


def test_all_listen_on_loopback_ports_of_their_own(tmp_path: Path) -> None:
    at = _addresses()
    services = system.services(at, LocalDir(tmp_path))
    ports = [at.api, at.sink_smtp, at.sink_http, *at.metrics.values()]

    assert len(set(ports)) == len(ports)
    assert not DEFAULT_PORTS & set(ports)
    assert all(service.spec.env["MAILWARREN_METRICS_HOST"] == "127.0.0.1" for service in services)
    assert {"--smtp", f"127.0.0.1:{at.sink_smtp}"} <= set(services[0].spec.argv)


def test_senders_stop_first_and_may_finish_what_is_in_flight(tmp_path: Path) -> None:
    services = {service.spec.name: service.spec for service in system.services(_addresses(), LocalDir(tmp_path))}

    sender = services["sender-normal-1"]
    assert sender.stage > services["tracker"].stage
    assert sender.stop_seconds > float(sender.env["MAILWARREN_DRAIN_GRACE"])


def test_with_accounts_no_service_knows_another_account(tmp_path: Path) -> None:
    at = _addresses(own_accounts=True)
    services = {service.spec.name: service.spec.env for service in system.services(at, LocalDir(tmp_path))}
    kinds = {name: name.partition("-")[0] for name in services if name != "sink"}
    # They are ingest and tracker too, by other commands.
    kinds |= {"worker": "ingest", "scheduler": "ingest", "webhooks": "tracker"}

    for name, kind in kinds.items():
        env, password = services[name], at.passwords[kind]
        assert env["MAILWARREN_AMQP_URL"] == f"amqp://mailwarren-{kind}:{password}@broker:1/vhost"
        assert env["MAILWARREN_DATABASE_URL"] == f"postgresql://mailwarren_{kind}:{password}@database:3/db"
        assert env["MAILWARREN_MANAGEMENT_URL"] == f"http://mailwarren-{kind}:{password}@management:2"
        others = {"own3r", *at.passwords.values()} - {password}
        assert not any(other in value for other in others for value in env.values())


def test_without_accounts_all_use_the_servers_as_they_were_given(tmp_path: Path) -> None:
    for service in system.services(_addresses(), LocalDir(tmp_path)):
        assert service.spec.env["MAILWARREN_AMQP_URL"] == "amqp://admin:own3r@broker:1/vhost"
