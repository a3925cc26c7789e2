"""`waybill feedback` publishes what a record's tenant would: on its topic, or signed, and never for nobody's record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
import typer
from aiokafka import AIOKafkaConsumer
from support.flow import Flow, messages_of
from support.jobs import TENANT, job
from support.servers import OpenHost
from support.tenants import some_tenants
from typer.testing import CliRunner

from schemas.topics import FEEDBACK
from services.cli import feedback as command
from services.cli.records.select import NoSuchRecordError
from services.policy import Policy
from services.recorder.feedback import FeedbackStage
from services.runtime import queries, topics
from services.runtime.settings import Settings
from services.tenancy import Bound

_APPLY = queries.load("cli_tenants")["apply"]
KEY = "a/key with a slash"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    command.register(app)
    return app


async def a_record(host: OpenHost, policy: Policy) -> UUID:
    flow = await Flow.open(host, policy)
    record_id, _ = await flow.decided(job(idempotency_key=KEY))
    return record_id


async def run(
    app: typer.Typer, settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> dict[str, object]:
    """Run the command with these settings, in a thread: it has an event loop of its own."""
    monkeypatch.setattr(command, "load_settings", lambda: settings)
    outcome = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    assert outcome.exit_code == 0, outcome.output
    found: dict[str, object] = orjson.loads(outcome.stdout)
    return found


async def test_by_record_and_by_key(
    app: typer.Typer, host: OpenHost, policy: Policy, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_id = await a_record(host, policy)
    said = await run(app, settings, monkeypatch, str(record_id), "--verdict", "edited", "--edit-ratio", "0.25")
    assert (said["tenant"], said["record_id"]) == (TENANT, str(record_id))
    await run(app, settings, monkeypatch, "--key", f"{TENANT}/{KEY}", "--verdict", "rejected", "--reason-code", "tone")
    documents = [orjson.loads(value) for _, value in await messages_of(settings, FEEDBACK, 2)]
    common = {"schema_version": 1, "tenant": TENANT}
    wanted = [
        common | {"record_id": str(record_id), "verdict": "edited", "edit_ratio": 0.25},
        common | {"idempotency_key": KEY, "verdict": "rejected", "reason_code": "tone"},
    ]
    assert sorted(documents, key=len) == sorted(wanted, key=len)
    with pytest.raises(NoSuchRecordError):
        await run(app, settings, monkeypatch, str(uuid4()), "--verdict", "accepted")


@pytest.mark.parametrize("agreed", [{"topics": True}, {"keys": [{"id": "acme-1", "secret": "ACME_1"}]}])
async def test_as_the_tenant_would(
    app: typer.Typer,
    host: OpenHost,
    policy: Policy,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    agreed: dict[str, object],
) -> None:
    record_id = await a_record(host, policy)
    tenants = some_tenants(**{TENANT: agreed})
    await topics.apply(settings, tenants)
    connection = await asyncpg.connect(settings.database_url)
    await connection.fetchval(_APPLY, tenants.content().decode(), "test")
    await connection.close()
    (tmp_path / "ACME_1").write_text("the secret")
    own = settings.model_copy(update={"secrets_dir": tmp_path, "allow_unsigned": False})
    await run(app, own, monkeypatch, str(record_id), "--verdict", "accepted")

    recorder = await host("recorder")
    recorder.settings = own
    stage = FeedbackStage(recorder)
    names = [
        settings.topic(FEEDBACK.name),
        *([settings.topic(f"{FEEDBACK.name}.{TENANT}")] if "topics" in agreed else []),
    ]
    async with AIOKafkaConsumer(
        *names, bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        item = stage.read(await consumer.getone())
    assert item.record.topic == names[-1]
    assert item.bound == Bound(TENANT, TENANT)
    assert list(await stage.run([item])) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--verdict"),
        (["--verdict", "accepted"], "ID"),
        (["no-uuid", "--verdict", "accepted"], "valid UUID"),
        ([str(UUID(int=1)), "--key", "acme/k", "--verdict", "accepted"], "ID"),
        (["--key", "no-slash", "--verdict", "accepted"], "--key"),
        (["--key", "UPPER/k", "--verdict", "accepted"], "--key"),
        (["--key", "acme/k", "--verdict", "liked"], "--verdict"),
        (["--key", "acme/k", "--verdict", "edited", "--edit-ratio", "1.5"], "--edit-ratio"),
        (["--key", "acme/k", "--verdict", "edited", "--edit-ratio", "nan"], "--edit-ratio"),
        (["--key", "acme/k", "--verdict", "edited", "--reason-code", "too long a story"], "--reason-code"),
    ],
)
def test_wrong_options_are_named(app: typer.Typer, arguments: list[str], says: str) -> None:
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 2
    assert says in outcome.output
