"""compose.yaml is valid, and every image, path, variable, queue and address that it names exists."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from mailwarren.contracts.access import Service
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import send_queue_names
from mailwarren.devstack import rabbitmq_docker
from mailwarren.devstack.prometheus import BROKER_FAMILIES
from mailwarren.devstack.rabbitmq import DEAD_LETTER_CONFIRM_MS
from mailwarren.flower.settings import FlowerSettings
from mailwarren.ingest import cli
from mailwarren.ingest.commands.access import _PASSIVE_CONFIGURES, role_name, user_name
from mailwarren.ingest.settings import Settings as IngestSettings
from mailwarren.runtime.vault import Vault
from mailwarren.sender.settings import SenderSettings
from mailwarren.store.access import ROLES
from mailwarren.tracker.settings import WebhookSettings

SETTINGS = {"flower": FlowerSettings, "ingest": IngestSettings, "sender": SenderSettings, "tracker": WebhookSettings}
PASSWORDS = {service: f"MAILWARREN_{service.upper()}_PASSWORD" for service in Service}
OF_COMMANDS = {"MAILWARREN_API_KEY", "MAILWARREN_BROKER_ADMIN_URL", *PASSWORDS.values()}
"""Read by ``mailwarren`` itself."""
OF_BUCKETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"}
"""Read by the blob store's client."""
METRICS_PORT, RABBITMQ_METRICS_PORT = 9464, 15692


@pytest.fixture(scope="module")
def text(root) -> str:
    return (root / "compose.yaml").read_text()


@pytest.fixture(scope="module")
def services(text) -> dict:
    return yaml.safe_load(text)["services"]


@pytest.fixture(scope="module")
def ours(services) -> dict:
    return {name: service for name, service in services.items() if "MAILWARREN_IMAGES" in service["image"]}


def image_of(service: dict) -> str:
    return re.fullmatch(r"\$\{MAILWARREN_IMAGES:-mailwarren\}-([a-z]+):\$\{MAILWARREN_TAG:-dev\}", service["image"])[1]


def variables(text: str) -> dict[str, str]:
    """What is taken from the environment: name and how (``:?``, ``:-``, ``-`` or nothing)."""
    return dict(re.findall(r"\$\{([A-Z_]+)(:\?|:-|-)?", text))


def consumers(services: dict) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, service in services.items():
        command = service.get("command") or []
        for queue in command[command.index("-Q") + 1].split(",") if "-Q" in command else []:
            found.setdefault(queue, []).append(name)
    return found


def test_it_follows_the_compose_specification(tool) -> None:
    said, status = tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    assert status == 0, said


def test_a_key_that_compose_does_not_know_is_refused(tool, text, tmp_path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(text.replace("    restart: unless-stopped", "    restarts: unless-stopped", 1))
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(wrong))[1] == 1


def test_every_image_of_ours_is_built_here_and_used(ours, stages) -> None:
    # Load is made by `make load` and by the chart.
    assert {image_of(service) for service in ours.values()} == set(stages) - {"load"}
    for service in ours.values():
        assert service["build"] == {"context": ".", "args": {"SERVICE": image_of(service)}}


def test_foreign_images_have_a_version(services, ours) -> None:
    foreign = [service["image"] for name, service in services.items() if name not in ours]
    assert [image for image in foreign if not re.search(r":v?\d", image)] == []
    assert {image.split(":")[0] for image in foreign} == {"rabbitmq", "postgres", "prom/prometheus", "grafana/grafana"}


def test_our_services_run_restricted(ours) -> None:
    for name, service in ours.items():
        assert service["user"] == "10001:10001", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"] == ["/tmp"], name


def test_whatever_stays_up_is_started_again_and_ours_say_whether_they_are_well(services, ours) -> None:
    staying = set(services) - {"setup"}
    assert {services[name]["restart"] for name in staying} == {"unless-stopped"}
    assert services["setup"]["restart"] == "no"
    assert all("test" in services[name]["healthcheck"] for name in (set(ours) - {"setup"}) | {"rabbitmq", "postgres"})


def test_services_start_after_setup_and_setup_after_its_servers(services, ours) -> None:
    for name in set(ours) - {"setup", "sink"}:
        assert services[name]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}, name
    assert set(services["setup"]["depends_on"]) == {"rabbitmq", "postgres"}


def test_senders_get_the_time_that_their_shutdown_takes(services) -> None:
    graces = {service["stop_grace_period"] for name, service in services.items() if name.startswith("sender-")}
    assert graces == {"6m"}
    assert SenderSettings().drain_grace < 6 * 60


def test_each_queue_has_exactly_one_fleet(services) -> None:
    found = consumers(services)
    assert sorted(found) == sorted(send_queue_names(list(Lane)))
    assert [queue for queue, names in found.items() if len(names) != 1] == []


def test_a_queue_of_two_fleets_shows() -> None:
    assert consumers({"a": {"command": ["-Q", "q1,q2"]}, "b": {"command": ["-Q", "q2"]}})["q2"] == ["a", "b"]


def test_every_setting_is_one_of_the_service(ours) -> None:
    for name, service in ours.items():
        settings = SETTINGS.get(image_of(service))
        fields = settings.model_fields if settings else {}
        known = {of.validation_alias or f"MAILWARREN_{field.upper()}" for field, of in fields.items()}
        of_commands = OF_COMMANDS if name == "setup" else set()
        assert set(service.get("environment", {})) <= known | of_commands | OF_BUCKETS, name


def test_only_senders_and_the_sink_do_without_the_database(ours) -> None:
    with_database = {
        name for name, service in ours.items() if "MAILWARREN_DATABASE_URL" in service.get("environment", {})
    }
    assert with_database == {"setup", "ingest", "worker", "scheduler", "tracker", "webhooks"}


def logins(service: dict) -> dict[str, tuple[str, str]]:
    """By the server that a URL leads to: the user, and the variable that has the password."""
    urls = "\n".join(value for value in service.get("environment", {}).values() if "@" in (value or ""))
    found = re.findall(r"://([\w-]+):\$\{([A-Z_]+):\?[^}]*\}@([a-z]+:\d+)", urls)
    assert len(found) == len(urls.splitlines())
    return {server: (user, password) for user, password, server in found}


def test_each_service_connects_as_itself_and_setup_as_the_administrator(services, ours) -> None:
    for name, service in ours.items():
        if name not in {"setup", "sink"}:
            account = Service(image_of(service))
            user = (user_name(account), PASSWORDS[account])
            expected = {
                "rabbitmq:5672": user,
                "rabbitmq:15672": user if account is Service.INGEST else None,
                "postgres:5432": (role_name(account), PASSWORDS[account]) if account in ROLES else None,
            }
            assert logins(service) == {server: login for server, login in expected.items() if login}, name
    setup = dict(services["setup"]["environment"])
    # Ingest's user gets the tag monitoring because setup is told this address, as ingest is.
    assert setup.pop("MAILWARREN_MANAGEMENT_URL") == services["ingest"]["environment"]["MAILWARREN_MANAGEMENT_URL"]
    assert logins({"environment": setup}) == {
        "rabbitmq:5672": (services["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_USER"], "RABBITMQ_PASSWORD"),
        "rabbitmq:15672": (services["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_USER"], "RABBITMQ_PASSWORD"),
        "postgres:5432": (services["postgres"]["environment"]["POSTGRES_USER"], "POSTGRES_PASSWORD"),
    }
    assert {name: setup[name] for name in PASSWORDS.values()} == {
        name: f"${{{name}:?make compose-env makes it}}" for name in PASSWORDS.values()
    }


def test_an_operator_can_run_commands_as_the_administrator(services) -> None:
    # docker compose run --rm setup 'mailwarren dead list'
    assert services["setup"]["entrypoint"] == ["/bin/sh", "-euc"]


def test_every_mounted_path_is_in_the_clone(services, root) -> None:
    mounts = [mount for service in services.values() for mount in service.get("volumes", [])]
    paths = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert len(paths) >= 5
    assert [path for path in paths if not (root / path).exists()] == []
    assert all(mount.endswith(":ro") for mount in mounts if mount.startswith("."))


def test_our_services_mount_nothing(ours) -> None:
    assert [name for name, service in ours.items() if "volumes" in service] == []


# RabbitMQ's version


def refused(image: str) -> list[str]:
    """Versions that a tag may stand for, and in which services cannot ask for depths."""
    tag = image.rpartition(":")[2].removesuffix("-management")
    return [version for version in _PASSIVE_CONFIGURES if f"{version}.".startswith(f"{tag}.")]


def test_all_ways_to_run_rabbitmq_take_the_same_image(services, root) -> None:
    chart = yaml.safe_load((root / "deploy/helm/mailwarren/values.yaml").read_text())["rabbitmq"]
    found = {
        "compose.yaml": services["rabbitmq"]["image"],
        "make up": rabbitmq_docker._IMAGE,
        "rabbitmq.trial.image": chart["trial"]["image"].removeprefix("docker.io/library/"),
        "rabbitmq.operator.image": chart["operator"]["image"].removeprefix("docker.io/library/"),
    }
    assert len(set(found.values())) == 1, found


def test_rabbitmq_is_none_that_hides_depths_from_the_services(services) -> None:
    assert refused(services["rabbitmq"]["image"]) == []


@pytest.mark.parametrize("tag", ["4.2.6-management", "4.2-management", "4-management", "4.3.0"])
def test_a_tag_that_may_be_such_a_version_shows(tag) -> None:
    assert refused(f"rabbitmq:{tag}")


def test_ports_are_for_this_machine_only(services) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) >= 5
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\$\{PORT_[A-Z]+:-(\d+)\}:\d+", port)] == []


def test_setup_runs_commands_that_exist(services) -> None:
    (script,) = services["setup"]["command"]
    lines = [line.split(">")[0].split() for line in script.splitlines()]
    assert len(lines) >= 1
    for program, *words in lines:
        assert program == "mailwarren"
        cli._parser().parse_args(words)


# Secrets


def test_no_secret_stands_in_the_file_and_none_has_a_default(text) -> None:
    found = variables(text)
    secret = {name for name in found if re.search("PASSWORD|KEY", name)}
    assert len(secret) >= 4
    assert {found[name] for name in secret} == {":?"}
    assert re.findall(r"://\w+:(?!\$\{)[^@\s]+@", text.split("services:")[1]) == []


def test_compose_env_makes_all_that_is_asked_for_once_and_for_its_owner_only(text, root, tmp_path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(root / "bin/compose-env", tmp_path / "bin/compose-env")
    env = tmp_path / ".env"
    for _ in range(2):
        subprocess.run([tmp_path / "bin/compose-env"], cwd=tmp_path, check=True, capture_output=True)
    made = dict(line.split("=", 1) for line in env.read_text().splitlines())
    assert set(made) == {name for name, how in variables(text).items() if how == ":?"}
    assert len(env.read_text().splitlines()) == len(made)
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert len(set(made.values())) == len(made)
    assert re.fullmatch(r"mw_[0-9A-Za-z]{32,128}", made["MAILWARREN_API_KEY"])
    assert all(re.fullmatch(r"\w{40,}", value) for value in made.values())
    assert len(Vault((tmp_path / ".secrets/data-keys").read_text().split()).close(b"")) > 0
    assert stat.S_IMODE((tmp_path / ".secrets").stat().st_mode) == 0o700


def test_only_who_reads_secrets_in_the_database_has_their_keys(services, root) -> None:
    having = {one: service for one, service in services.items() if "secrets" in service}
    assert set(having) == {"ingest", "webhooks"}
    ((name,),) = {tuple(service["secrets"]) for service in having.values()}
    told = {service["environment"]["MAILWARREN_DATA_KEYS"] for service in having.values()}
    assert told == {f"/run/secrets/{name}"}
    file = yaml.safe_load((root / "compose.yaml").read_text())["secrets"][name]["file"]
    assert f"{file.removeprefix('./').partition('/')[0]}/" in (root / ".gitignore").read_text().splitlines()


def test_git_does_not_take_the_passwords(root) -> None:
    assert ".env" in (root / ".gitignore").read_text().splitlines()


# What is mounted


def test_the_broker_has_the_setting_that_retries_need(root) -> None:
    said = (root / "deploy/compose/rabbitmq/advanced.config").read_text()
    assert f"{{dead_letter_worker_publisher_confirm_timeout, {DEAD_LETTER_CONFIRM_MS}}}" in said


def test_prometheus_looks_at_every_service(root, services, ours) -> None:
    jobs = yaml.safe_load((root / "deploy/compose/prometheus.yml").read_text())["scrape_configs"]
    by_name = {job["job_name"]: job for job in jobs}
    (dns,) = by_name["mailwarren"]["dns_sd_configs"]
    assert set(dns["names"]) == set(ours) - {"setup", "sink"}
    assert dns["port"] == METRICS_PORT == SenderSettings().metrics_port
    targets = {name: job["static_configs"][0]["targets"] for name, job in by_name.items() if "static_configs" in job}
    broker = [f"rabbitmq:{RABBITMQ_METRICS_PORT}"]
    assert targets == {"sink": ["sink:8025"], "rabbitmq": broker, "rabbitmq-queues": broker}
    assert by_name["rabbitmq-queues"]["params"] == {"vhost": ["mailwarren"], "family": list(BROKER_FAMILIES)}


def test_prometheus_has_every_rule_and_alert(root, services, tmp_path) -> None:
    """In a folder that is laid out as the container sees it."""
    for mount in services["prometheus"]["volumes"][1:]:
        source, target, _ = mount.split(":")
        place = tmp_path / Path(target).relative_to("/etc/prometheus")
        place.symlink_to(root / source)
    done = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read = {Path(line.split()[-1]).name for line in done.stdout.splitlines() if line.startswith("Checking rules/")}
    read |= {Path(line.split()[-1]).name for line in done.stdout.splitlines() if line.startswith("Checking alerts/")}
    wanted = {path.name for folder in ("rules", "alerts") for path in (root / "deploy/grafana" / folder).glob("*.yaml")}
    assert read == {name for name in wanted if not name.endswith(".test.yaml")}


def test_grafana_finds_prometheus_and_the_dashboards(root, services) -> None:
    folder = root / "deploy/compose/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = yaml.safe_load((folder / "dashboards/mailwarren.yml").read_text())["providers"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
