"""Small stand-ins for what runs beside PostgreSQL and Kafka; the supervisor loads them by name."""

from __future__ import annotations

import sys

from services.standalone.plan import Plan, Surroundings, http_ready
from services.standalone.ports import LOOPBACK
from services.standalone.process import ProcessSpec


def _file_server(around: Surroundings, name: str) -> ProcessSpec:
    """Answer GET /ready with 200: the preparation makes a file of that name."""
    address = f"{LOOPBACK}:{around.ports[name]}"
    served = str(around.folder.root / "served")
    return ProcessSpec(
        name=name,
        arguments=(
            *(sys.executable, "-m", "http.server", str(around.ports[name])),
            *("--bind", LOOPBACK, "--directory", served),
        ),
        ready=http_ready(f"http://{address}/ready"),
        http_addr=address,
    )


def working(around: Surroundings) -> Plan:
    """Return two stages that come up, if the preparation ran first and in order."""
    served = around.folder.root / "served"
    return Plan(
        preparation={
            "first": ("/bin/mkdir", "-p", str(served)),
            "second": ("/bin/sh", "-c", f'printf %s "$GREETING" > {served}/ready'),
        },
        stages=(
            (_file_server(around, "simulator"),),
            (_file_server(around, "router"), _file_server(around, "recorder")),
        ),
        environment={"GREETING": "hello"},
        simulator_url=f"http://{LOOPBACK}:{around.ports['simulator']}",
    )


def failing_service(around: Surroundings) -> Plan:
    """Return a plan whose last process ends at once, saying why."""
    plan = working(around)
    broken = ProcessSpec(
        name="router",
        arguments=(sys.executable, "-c", "import sys; sys.exit('no policy bundle has been applied')"),
        ready=http_ready(f"http://{LOOPBACK}:{around.ports['router']}/ready"),
    )
    return Plan(preparation=plan.preparation, stages=(plan.stages[0], (broken,)), environment=plan.environment)


def failing_preparation(around: Surroundings) -> Plan:
    """Return a plan whose migration fails."""
    return Plan(preparation={"migrate": (sys.executable, "-c", "import sys; sys.exit('permission denied')")})
