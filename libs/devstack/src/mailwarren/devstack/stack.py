"""Brings a whole system up and down: servers first, then topology, schema and key, then the services."""

import base64
import fcntl
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import product

import httpx
import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack import postgres_files, system
from mailwarren.devstack.control import Add, Remove, Shutdown, Supervisor
from mailwarren.devstack.env_file import write_env
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.health import wait_ready
from mailwarren.devstack.ports import free_ports
from mailwarren.devstack.process import log_tail
from mailwarren.devstack.rabbitmq_docker import DockerRabbitMQ
from mailwarren.devstack.servers import Broker, Database, Given
from mailwarren.devstack.state import LocalDir, ProcessRecord, kill_records, read_state, write_json, write_private
from mailwarren.devstack.system import Addresses, Service
from mailwarren.devstack.terminal import say, step

_SUPERVISOR_SECONDS = 15.0
_COMMAND_SECONDS = 120.0


class Stack:
    """The system below one folder. Every method may be called from a fresh process."""

    def __init__(self, local: LocalDir) -> None:
        self.local = local
        self.supervisor = Supervisor(local)

    def up(self, *, smtp_url: str | None = None, retry_scale: float = 1.0) -> Addresses:
        """Starts what does not run yet; a system that runs with other settings is stopped first.

        Raises:
            DevstackError: something did not start. Nothing is left running then.
        """
        self.local.make()
        with self._alone():
            given = Given.from_environment(self.local)
            running = self._running_with(given, smtp_url, retry_scale)
            if running is not None:
                return running
            self._down()
            try:
                return self._bring_up(given, smtp_url, retry_scale)
            except BaseException:
                self._down()
                raise

    def down(self) -> bool:
        """Stops everything; data stays. Returns whether anything ran."""
        if not self.local.path.exists():
            return False
        self.local.make()
        with self._alone():
            return self._down()

    def clean(self) -> None:
        """Stops everything and deletes what lies outside the folder; the folder itself is the caller's to delete."""
        self.down()
        if (self.local.path / "rabbitmq" / "container.json").exists():
            DockerRabbitMQ(self.local.path / "rabbitmq").remove()
        pointers = [*self.local.path.glob("postgres/elsewhere"), *self.local.path.glob("tests/*/*/elsewhere")]
        for pointer in pointers:
            postgres_files.remove(pointer.parent)

    def addresses(self) -> Addresses | None:
        """Of the system that runs, or that was left when its supervisor died."""
        try:
            return msgspec.json.decode(self.local.system.read_bytes(), type=Addresses)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def scale(self, senders: int | None = None, workers: int | None = None) -> None:
        """Runs ``senders`` processes for each lane, and ``workers`` workers; None leaves them as they are.

        Raises:
            DevstackError: nothing runs, or a new one is not ready in time.
        """
        with self._alone():
            at = self.addresses()
            known = self.supervisor.status()
            if at is None or any(number is not None and number < 1 for number in (senders, workers)):
                raise DevstackError("scale needs a running system (make up) and at least 1 of each")
            wanted: dict[str, Callable[[Addresses], Service]] = {}
            for lane, number in product(Lane, range(1, (senders or 0) + 1)):
                wanted[system.sender_name(lane, number)] = partial(
                    system.sender, local=self.local, lane=lane, number=number
                )
            for number in range(1, (workers or 0) + 1):
                wanted[system.worker_name(number)] = partial(system.worker, local=self.local, number=number)
            scaled = ("sender-",) * (senders is not None) + ("worker",) * (workers is not None)
            surplus = [name for name in known if name.startswith(scaled) and name not in wanted]
            missing = [name for name in wanted if name not in known]
            ports = dict(zip(missing, free_ports(len(missing)), strict=True))
            kept = {name: port for name, port in at.metrics.items() if name not in surplus}
            at = msgspec.structs.replace(at, metrics=kept | ports)
            added = [wanted[name](at) for name in missing]
            write_json(self.local.system, at)
            self.supervisor.ask(Add(tuple(service.spec for service in added)))
            wait_ready(added, self.supervisor)
            self.supervisor.ask(Remove(tuple(surplus)))

    def api_key(self) -> str:
        """The key that ``up`` made.

        Raises:
            DevstackError: there is none.
        """
        try:
            return self.local.api_key.read_text().strip()
        except FileNotFoundError as error:
            raise DevstackError("the stack is not running here; start it with: make up") from error

    def _running_with(self, given: Given, smtp_url: str | None, retry_scale: float) -> Addresses | None:
        """The system that runs, if it is well and was started with these settings."""
        at = self.addresses() if self.supervisor.is_running() else None
        if at is None or (at.smtp_url, at.retry_scale) != (smtp_url, retry_scale):
            return None
        known = self.supervisor.status()
        for url, wanted, private in (
            (at.amqp_url, given.amqp_url, "rabbitmq"),
            (at.database_url, given.database_url, "postgres"),
        ):
            if url != wanted and (wanted is not None or private not in known):
                return None
        try:
            wait_ready(self._services(at), self.supervisor)
        except (DevstackError, KeyError) as error:
            say(f"The running system is not well, so it is started anew: {str(error).splitlines()[0]}")
            return None
        return at

    def _bring_up(self, given: Given, smtp_url: str | None, retry_scale: float) -> Addresses:
        broker = Broker(self.local, given.amqp_url, os.environ.get("MAILWARREN_MANAGEMENT_URL"))
        database = Database(self.local, given.database_url)
        self._start_supervisor()
        private = [name for name, url in (("RabbitMQ", given.amqp_url), ("Postgres", given.database_url)) if not url]
        start = f"Starting {' and '.join(private)}" if private else "Preparing the given servers"
        with step(f"{start}, with topology, schema and key"):
            broker.launch(self.supervisor)
            database.launch(self.supervisor)
            self._keep_data_keys()
            at = system.choose_addresses(
                amqp_url=broker.amqp_url,
                amqp_prefix=os.environ.get("MAILWARREN_AMQP_PREFIX", ""),
                management_url=broker.management_url,
                database_url=database.database_url,
                smtp_url=smtp_url,
                retry_scale=retry_scale,
                own_accounts=given.amqp_url is None and given.database_url is None,
            )
            write_json(self.local.system, at)

            def prepare_broker() -> None:
                broker.wait(self.supervisor)
                self._command(at, system.topology_command())

            def prepare_database() -> None:
                database.wait(self.supervisor)
                self._command(at, system.migrate_command())
                if not self.local.api_key.exists():
                    self._make_key(at)

            with ThreadPoolExecutor() as pool:
                for prepared in [pool.submit(prepare_broker), pool.submit(prepare_database)]:
                    prepared.result()
            if at.passwords:
                self._command(at, system.access_command(), system.access_environment(at))
        services = self._services(at)
        with step(f"Starting {len(services)} services"):
            self.supervisor.ask(Add(tuple(service.spec for service in services)))
            wait_ready(services, self.supervisor)
            if not self._key_works(at):
                self._make_key(at)
        write_env(self.local, at, self.api_key())
        if retry_scale != 1.0:
            say(f"    Retries wait {retry_scale:g} of their usual time.")
        return at

    def _services(self, at: Addresses) -> list[Service]:
        return system.services(at, self.local)

    def _start_supervisor(self) -> None:
        log = self.local.log("supervisor")
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "mailwarren.devstack.supervisor", str(self.local.path)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.local.path,
            )
        deadline = time.monotonic() + _SUPERVISOR_SECONDS
        while not self.supervisor.is_running():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DevstackError(f"the supervisor did not start. The end of {log}:\n{log_tail(log)}")
            time.sleep(0.02)

    def _down(self) -> bool:
        state = read_state(self.local)
        was_running = self.supervisor.is_running()
        if was_running:
            self.supervisor.ask(Shutdown())
        records = state.processes + ((state.supervisor,) if state.supervisor else ())
        if was_running and state.supervisor:
            _wait_gone(state.supervisor)
        left = kill_records(records)
        for path in (self.local.state, self.local.system, self.local.env):
            path.unlink(missing_ok=True)
        return was_running or bool(left)

    def _command(self, at: Addresses, argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
        """Runs one of our own commands to its end; its output also goes to a log."""
        log = self.local.log("setup")
        done = subprocess.run(
            argv,
            env={**os.environ, **system.environment(at), **(env or {})},
            cwd=self.local.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        name = " ".join(argv[:1])
        with log.open("a") as out:
            out.write(f"$ {name} {' '.join(argv[1:])}\n{done.stderr}")
        if done.returncode != 0:
            raise DevstackError(
                f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        return done.stdout

    def _keep_data_keys(self) -> None:
        if not self.local.data_keys.exists():
            write_private(self.local.data_keys, base64.urlsafe_b64encode(secrets.token_bytes(32)) + b"\n")

    def _make_key(self, at: Addresses) -> None:
        token = json.loads(self._command(at, system.key_command()).strip().splitlines()[-1])["token"]
        write_private(self.local.api_key, f"{token}\n".encode())

    def _key_works(self, at: Addresses) -> bool:
        """False only when the API refuses it: a database that was replaced, or a key that was deleted."""
        headers = {"Authorization": f"Bearer {self.api_key()}"}
        answer = httpx.get(f"{at.api_url}/emails?limit=1", headers=headers, timeout=10)
        return answer.status_code not in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change at a time: a second ``make up`` waits for the first."""
        with (self.local.run / "stack.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another make is at work on this stack; waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _wait_gone(record: ProcessRecord, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while record.find() and time.monotonic() < deadline:
        time.sleep(0.02)
