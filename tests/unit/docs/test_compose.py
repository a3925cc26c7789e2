"""The Compose file and the image: what they name exists, and what they promise is there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
import yaml
from docs_pages import ROOT

from schemas.topics import TOPICS
from services.cli.deployment import SERVICES
from services.cli.main import app
from services.runtime.settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOGINS = (ROOT / "schemas" / "sql" / "logins.sql").read_text(encoding="utf-8")
OURS = [name for name, service in COMPOSE["services"].items() if service["image"].startswith("waybill:")]


def environment(name: str) -> dict[str, str]:
    return COMPOSE["services"][name].get("environment", {})


def known_variables() -> set[str]:
    catalog = (ROOT / "config" / "catalog.yaml").read_text(encoding="utf-8")
    return {str(field.alias) for field in Settings.model_fields.values()} | set(re.findall(r"\$\{(\w+)\}", catalog))


def test_it_runs_everything_once() -> None:
    assert set(COMPOSE["services"]) == {"postgres", "kafka", "prepare", "simulator", *SERVICES}


def test_the_servers_are_the_official_images_of_the_versions_that_are_embedded() -> None:
    services = COMPOSE["services"]
    jars = (ROOT / "services" / "standalone" / "kafka_jars.lock").read_text(encoding="utf-8")
    version = re.search(r"kafka_2\.13@([\d.]+)", jars)
    assert version is not None
    assert services["kafka"]["image"] == f"apache/kafka:{version.group(1)}"
    assert services["postgres"]["image"] == "postgres:18"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_served_watched_and_configured(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["command"] == ["serve", name]
    assert "/live" in str(service["healthcheck"]["test"])
    assert service["depends_on"]["prepare"] == {"condition": "service_completed_successfully"}
    required = {str(field.alias) for field in Settings.model_fields.values() if field.is_required()}
    assert required | {"WAYBILL_MASTER_KEY_FILE"} <= set(environment(name))


def test_every_variable_is_a_setting_or_one_of_the_catalog() -> None:
    named = {variable for name in OURS for variable in environment(name)}
    in_image = set(re.findall(r"\b((?:WAYBILL|KAFKA)_\w+)=", DOCKERFILE))
    assert named | in_image <= known_variables()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_logs_in_as_itself(name: str) -> None:
    address = f"postgresql://{name}:${{{name.upper()}_DB_PASSWORD:-{name}}}@postgres:5432/waybill"
    assert environment(name)["DATABASE_URL"] == address
    assert f"CREATE ROLE {name} LOGIN PASSWORD :'{name}' IN ROLE waybill_{name};" in LOGINS


def test_the_database_is_given_its_roles_before_its_logins_and_every_password() -> None:
    postgres = COMPOSE["services"]["postgres"]
    scripts = [volume.split(":")[:2] for volume in postgres["volumes"] if "initdb.d" in volume]
    assert [source for source, _ in scripts] == ["./schemas/sql/roles.sql", "./schemas/sql/logins.sql"]
    assert [target for _, target in scripts] == sorted(target for _, target in scripts)
    assert all((ROOT / source).is_file() for source, _ in scripts)
    passwords = set(re.findall(r"^\\getenv \w+ (\w+)$", LOGINS, re.MULTILINE))
    assert len(passwords) == 1 + len(SERVICES)
    assert passwords <= set(postgres["environment"])


def test_the_services_wait_at_a_stop_longer_than_the_executor_drains() -> None:
    seconds = {name: int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) for name in SERVICES}
    assert all(value > Settings.model_fields["drain_timeout_s"].default for value in seconds.values())


def test_prepare_runs_commands_that_exist_and_leaves_a_key_alone() -> None:
    script = "\n".join(COMPOSE["services"]["prepare"]["command"])
    command: Any = typer.main.get_command(app)
    assert re.findall(r"^waybill (.+)$", script, re.MULTILINE) == [
        "migrate",
        "topics apply",
        "tenant apply --reason 'docker compose up'",
    ]
    assert "migrate" in command.commands
    assert all("apply" in command.commands[group].commands for group in ("topics", "tenant"))
    assert 'if [ ! -s "$$key" ]' in script


def test_only_prepare_may_write_the_secrets() -> None:
    mounts = {name: COMPOSE["services"][name].get("volumes", []) for name in OURS}
    writable = [name for name, volumes in mounts.items() if "secrets:/var/lib/waybill/secrets" in volumes]
    assert writable == ["prepare"]


def test_every_volume_that_is_mounted_is_declared() -> None:
    mounted = {
        volume.partition(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith("./")  # a file of this repository
    }
    assert mounted == set(COMPOSE["volumes"])


def test_nothing_listens_beyond_this_machine() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_broker_makes_no_topics_by_itself() -> None:
    assert TOPICS
    assert environment("kafka")["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_image_checks_hashes_and_runs_as_nobody_special() -> None:
    assert "--require-hashes -r requirements.txt" in DOCKERFILE
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER waybill$", last_stage, re.MULTILINE)
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    copied = {path.rstrip("/") for path in re.findall(r"^COPY (?!--from)(.+?) \S+$", DOCKERFILE, re.MULTILINE)}
    assert {name for names in copied for name in names.split()} <= set(re.findall(r"^!(.+)$", allowed, re.MULTILINE))
