"""The list of what runs beside PostgreSQL and Kafka."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

from services.standalone.plan import DEFAULT_PLAN, SERVICES, Surroundings, http_ready, load_plan
from services.standalone.ports import LOOPBACK, Ports, is_free
from services.standalone.state import StateFolder


def test_the_real_plan_prepares_then_starts_the_simulator_then_the_services(tmp_path: Path) -> None:
    folder = StateFolder.at(tmp_path)
    plan = load_plan(DEFAULT_PLAN)(Surroundings(folder, Ports({}), "postgresql://db", "kafka:1"))
    assert [arguments[3:] for arguments in plan.preparation.values()] == [
        ("migrate",),
        ("topics", "apply"),
        ("tenant", "apply", "--reason", "waybill up"),
    ]
    assert [[spec.name for spec in stage] for stage in plan.stages] == [["simulator"], list(SERVICES)]
    addresses = [spec.http_addr for stage in plan.stages for spec in stage]
    assert len(set(addresses)) == 5
    for spec in plan.stages[1]:
        assert spec.arguments[-2:] == ("serve", spec.name)
        assert spec.environment["DATABASE_URL"] == "postgresql://db"
        assert spec.environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:1"
        assert spec.environment["WAYBILL_HTTP_ADDR"] == spec.http_addr
        assert spec.environment["WAYBILL_SIMULATOR_URL"] == plan.simulator_url
        assert Path(spec.environment["WAYBILL_MASTER_KEY_FILE"]).parent == folder.secrets


def test_a_service_with_a_login_of_its_own_uses_it_and_nothing_else_does(tmp_path: Path) -> None:
    urls = {"router": "postgresql://router@db", "recorder": "postgresql://recorder@db"}
    around = Surroundings(StateFolder.at(tmp_path), Ports({}), "postgresql://db", "kafka:1", urls)
    plan = load_plan(DEFAULT_PLAN)(around)
    found = {spec.name: spec.environment["DATABASE_URL"] for stage in plan.stages for spec in stage}
    assert found == {"simulator": "postgresql://db", **dict.fromkeys(SERVICES, "postgresql://db"), **urls}
    assert plan.environment["DATABASE_URL"] == "postgresql://db"


def test_ports_of_services_are_the_same_at_the_next_start(tmp_path: Path) -> None:
    def addresses(ports: Ports) -> list[str | None]:
        around = Surroundings(StateFolder.at(tmp_path), ports, "postgresql://db", "kafka:1")
        return [spec.http_addr for stage in load_plan(DEFAULT_PLAN)(around).stages for spec in stage]

    first = Ports({})
    assert addresses(first) == addresses(Ports(first.chosen))


async def test_ready_is_200_and_nothing_else() -> None:
    answers = {"/ready": 200, "/busy": 503}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers[self.path])
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://{LOOPBACK}:{server.server_port}"
        assert await http_ready(f"{base}/ready")()
        assert not await http_ready(f"{base}/busy")()
        server.shutdown()
    assert is_free(server.server_port)
    assert not await http_ready(f"{base}/ready")()
