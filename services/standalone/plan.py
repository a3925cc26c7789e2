"""What runs in a stack beside PostgreSQL and Kafka: one list, in the order of starting.

A plan is a parameter of the supervisor, named as ``module:function``; :func:`waybill` is the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

import httpx

from services.standalone.loopback import loopback_client
from services.standalone.ports import LOOPBACK, Ports
from services.standalone.process import ProcessSpec
from services.standalone.state import StateFolder

DEFAULT_PLAN = "services.standalone.plan:waybill"
SERVICES = ("classifier", "router", "executor", "recorder")
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Surroundings:
    """What a plan can count on: both servers answer at these addresses when its first command runs."""

    folder: StateFolder
    ports: Ports
    database_url: str
    kafka_bootstrap_servers: str
    service_database_urls: Mapping[str, str] = field(default_factory=dict)
    """The database as each service's own login, where it has one; the others use ``database_url``."""


@dataclass(frozen=True)
class Plan:
    """Commands to run to their end, one after the other, then processes to keep running."""

    preparation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Program and arguments by name; the name is its log's."""
    stages: tuple[tuple[ProcessSpec, ...], ...] = ()
    """A stage's processes start together, when all of the stage before are ready; they stop in the reverse order."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the commands of ``preparation``."""
    simulator_url: str | None = None


PlanFunction = Callable[[Surroundings], Plan]


def load_plan(reference: str) -> PlanFunction:
    """Return the function that ``module:function`` names."""
    module, _, name = reference.partition(":")
    function: PlanFunction = getattr(import_module(module), name)
    return function


def http_ready(url: str) -> Callable[[], Awaitable[bool]]:
    """Return a probe: whether GET ``url`` answers 200."""

    async def ready() -> bool:
        try:
            async with loopback_client(PROBE_SECONDS) as client:
                return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    return ready


def waybill(around: Surroundings) -> Plan:
    """Return the real thing: the database migrated and the topics made, the provider simulator, the four services."""
    folder = around.folder
    simulator_url = f"http://{LOOPBACK}:{around.ports['simulator']}"
    environment = {
        "DATABASE_URL": around.database_url,
        "KAFKA_BOOTSTRAP_SERVERS": around.kafka_bootstrap_servers,
        "WAYBILL_SIMULATOR_URL": simulator_url,
        "WAYBILL_SPOOL_DIR": str(folder.root / "spool"),
        "WAYBILL_CHECKPOINT_DIR": str(folder.checkpoints),
        "WAYBILL_ERASURE_LOG": str(folder.erasure_log),
        "WAYBILL_SECRETS_DIR": str(folder.secrets),
        "WAYBILL_MASTER_KEY_FILE": str(folder.master_key),
        "WAYBILL_NOTARY_KEY_FILE": str(folder.notary_key),
        # One machine, one person: whoever can reach the broker may publish for anybody that nothing binds.
        "WAYBILL_ALLOW_UNSIGNED": "true",
        "WAYBILL_STANDALONE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    command = (sys.executable, "-m", "services.cli.main")
    ledger = folder.root / "simulator" / "ledger.jsonl"
    simulator = ProcessSpec(
        name="simulator",
        arguments=(
            *(sys.executable, "-m", "services.standalone.simulator"),
            *("--port", str(around.ports["simulator"]), "--ledger", str(ledger)),
        ),
        ready=http_ready(f"{simulator_url}/ready"),
        http_addr=simulator_url.removeprefix("http://"),
        environment=environment,
    )

    def service(name: str) -> ProcessSpec:
        address = f"{LOOPBACK}:{around.ports[name]}"
        return ProcessSpec(
            name=name,
            arguments=(*command, "serve", name),
            ready=http_ready(f"http://{address}/ready"),
            http_addr=address,
            environment={
                **environment,
                "DATABASE_URL": around.service_database_urls.get(name, around.database_url),
                "WAYBILL_HTTP_ADDR": address,
            },
        )

    return Plan(
        preparation={
            "migrate": (*command, "migrate"),
            "topics": (*command, "topics", "apply"),
            "tenants": (*command, "tenant", "apply", "--reason", "waybill up"),
        },
        stages=((simulator,), tuple(service(name) for name in SERVICES)),
        environment=environment,
        simulator_url=simulator_url,
    )
