"""`waybill verify`, `record verify`, `record export`, `verify-proof` and `keys public`, as people run them."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from support import sql
from support.notaries import KEY, folder, notary, record, signed
from typer.testing import CliRunner

from services.cli.main import app
from services.cli.verification.record_proof import Prover, read_chain
from services.proof.errors import ProofError
from services.proof.proof_file import ProofFile
from services.recorder import notary as notary_module
from services.runtime.errors import WaybillError
from services.runtime.postgres import open_pool

TAMPER = sql.load("tamper")
ENTRIES, DAMAGED = 7, 3
RECORDS = 9


class Waybill:
    """The command line of one deployment, whose checkpoints are in ``path``."""

    def __init__(self, database: str, path: Path, pool: asyncpg.Pool[Any]) -> None:
        self.path, self.pool, self.entries = path, pool, 0
        self._private = path / "notary.key"
        self._private.write_text(base64.b64encode(bytes(range(32))).decode())
        self.environment: dict[str, str | None] = {
            "DATABASE_URL": database,
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "WAYBILL_NOTARY_KEY_FILE": str(self._private),
            "WAYBILL_NOTARY_NAME": KEY.public.name,
            "WAYBILL_CHECKPOINT_DIR": str(path / "checkpoints"),
        }

    async def __call__(self, *arguments: object, status: int = 0) -> str:
        """Run a command, which must end with ``status``; return what it printed, or the error's message."""
        words = [str(argument) for argument in arguments]
        ended = await asyncio.to_thread(CliRunner().invoke, app, words, env=self.environment)
        if isinstance(ended.exception, WaybillError | ProofError):
            assert status == 1, ended.exception
            return str(ended.exception)
        assert ended.exit_code == status, ended.output
        return ended.stdout

    async def sign(self, records: int = RECORDS) -> None:
        """Record something, and have it signed."""
        await record(self.pool, records)
        self.entries += records * ENTRIES
        await signed(notary(self.pool, self.path), self.entries)

    async def some_record(self) -> UUID:
        """Return the id of a record."""
        return (await self.pool.fetch(TAMPER["entries"]))[0]["record_id"]


@pytest_asyncio.fixture
async def waybill(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Waybill]:
    monkeypatch.setattr(notary_module, "PACK_ENTRIES", 10)
    pool = await open_pool(database, service="test", size=2)
    yield Waybill(database, tmp_path, pool)
    pool.terminate()


async def test_everything_is_verified(waybill: Waybill) -> None:
    await waybill.sign()
    await record(waybill.pool, 2)
    found = json.loads(await waybill("verify", "--json"))
    assert found["intact"]
    assert (found["entries"], found["uncovered"]) == (11 * ENTRIES, 2 * ENTRIES)
    assert found["newest_checkpoint"]["size"] == RECORDS * ENTRIES
    text = await waybill("verify")
    assert "Everything holds." in text
    assert f"{2 * ENTRIES} later entries are chained, but not covered" in text


async def test_damage_is_told_and_is_the_exit_status(waybill: Waybill) -> None:
    await waybill.sign()
    gone = await waybill.some_record()
    await waybill.pool.execute(TAMPER["unlock"])
    await waybill.pool.execute(TAMPER["delete_entry"], gone, 6)
    found = json.loads(await waybill("verify", "--json", status=DAMAGED))
    assert not found["intact"]
    assert found["faults"] == [
        {"what": "it is missing, or under another transaction", "record_id": str(gone), "seq": 6, "leaf": 54}
    ]
    assert "CHANGED" in await waybill("verify", status=DAMAGED)
    # One record by itself cannot show that its end was cut off, and says so in its help.
    await waybill("record", "verify", gone)


async def test_a_verification_goes_on_where_the_last_one_ended(waybill: Waybill) -> None:
    state = waybill.path / "state.json"
    await waybill.sign(3)
    first = json.loads(await waybill("verify", "--state", state, "--json"))
    assert (first["from_entry"], first["entries"]) == (0, 3 * ENTRIES)
    await waybill.sign(2)
    second = json.loads(await waybill("verify", "--state", state, "--json"))
    assert (second["from_entry"], second["entries"], second["intact"]) == (3 * ENTRIES, 2 * ENTRIES, True)
    document = json.loads(state.read_text())
    state.write_text(
        json.dumps({**document, "tree": base64.b64encode(bytes(len(base64.b64decode(document["tree"])))).decode()})
    )
    assert "tree" in await waybill("verify", "--state", state, status=DAMAGED)
    state.write_text(json.dumps({**document, "system": "1"}))
    assert "another database" in await waybill("verify", "--state", state, status=1)
    state.write_text("{}")
    assert "not a state file" in await waybill("verify", "--state", state, status=1)


async def test_since_begins_at_a_checkpoint(waybill: Waybill) -> None:
    await waybill.sign(3)
    found = json.loads(await waybill("verify", "--since", "2000-01-01", "--json"))
    assert (found["from_entry"], found["entries"]) == (0, 3 * ENTRIES)
    found = json.loads(await waybill("verify", "--since", "2100-01-01", "--json"))
    assert (found["from_entry"], found["entries"], found["checkpoints"]) == (3 * ENTRIES, 0, 1)


async def test_without_anything_to_trust_nothing_is_verified(waybill: Waybill) -> None:
    assert "has been published" in await waybill("verify", status=1)
    waybill.environment["WAYBILL_NOTARY_KEY_FILE"] = None
    assert "no public key" in await waybill("verify", status=1)
    await waybill.sign(1)
    assert "Everything holds" in await waybill("verify", "--key", KEY.public)


async def test_checkpoints_of_somebody_else_are_not_trusted(waybill: Waybill) -> None:
    await waybill.sign(1)
    history = waybill.path / "checkpoints" / "checkpoints"
    notes = history.read_text(encoding="utf-8")
    history.write_text(notes.replace("\n7\n", "\n8\n"), encoding="utf-8")
    assert "signature" in await waybill("verify", status=1)


async def test_a_record_is_proven_to_anybody_with_the_key(waybill: Waybill) -> None:
    await waybill.sign()
    await waybill.sign(3)
    some = await waybill.some_record()
    shown = json.loads(await waybill("record", "verify", some, "--json"))
    assert (shown["intact"], shown["entries"], shown["proven"]) == (True, ENTRIES, ENTRIES)
    file = waybill.path / "proof.json"
    await waybill("record", "export", some, "-o", file)
    key = (await waybill("keys", "public")).strip()
    assert key == str(KEY.public)
    told = await asyncio.to_thread(_without_any_settings, "verify-proof", file, "--key", key)
    assert f"its first {ENTRIES} entries are proven" in told
    key_file = waybill.path / "public.key"
    key_file.write_text(f"{key}\n")
    assert json.loads(await waybill("verify-proof", file, "--key", key_file, "--json"))["proven"]
    spoiled = json.loads(file.read_text(encoding="utf-8"))
    spoiled["entries"][2]["body"] = spoiled["entries"][2]["body"].replace("decided", "denied!")
    file.write_text(json.dumps(spoiled), encoding="utf-8")
    assert "NOT proven" in await waybill("verify-proof", file, "--key", key, status=DAMAGED)


def _without_any_settings(*arguments: object) -> str:
    """Run a command that succeeds in a process that knows nothing of the deployment."""
    command = [sys.executable, "-m", "services.cli.main", *map(str, arguments)]
    return subprocess.run(command, env={}, capture_output=True, text=True, timeout=120, check=True).stdout


async def test_every_record_of_many_packs_has_a_proof_that_holds(waybill: Waybill) -> None:
    """Whatever the sizes of tree and packs: paths are made of the packs' trees, never of all leaves."""
    for count in (1, 2, 5, 3, 1):
        await waybill.sign(count)
        note = folder(waybill.path).newest_note()
        newest = folder(waybill.path).newest()
        ids = {row["record_id"] for row in await waybill.pool.fetch(TAMPER["entries"])}
        for record_id in ids:
            proven = await Prover(waybill.pool, newest).prove(await read_chain(waybill.pool, record_id))
            assert len(proven) == ENTRIES
            ProofFile(record_id, note, proven).check(KEY.public)


async def test_what_no_checkpoint_covers_is_said_and_not_exported(waybill: Waybill) -> None:
    await notary(waybill.pool, waybill.path).run_once()
    await record(waybill.pool, 1)
    some = await waybill.some_record()
    shown = json.loads(await waybill("record", "verify", some, "--json"))
    assert (shown["intact"], shown["entries"], shown["proven"]) == (True, ENTRIES, 0)
    assert "not covered" in await waybill("record", "verify", some)
    assert "no checkpoint covers" in await waybill("record", "export", some, status=1)
    assert "no record" in await waybill("record", "verify", UUID(int=5), status=1)


@pytest.mark.parametrize(("column", "value"), [("xid", 5), ("entry_id", UUID(int=9)), ("entry_hash", bytes(32))])
async def test_a_changed_record_is_told(waybill: Waybill, column: str, value: object) -> None:
    await waybill.sign()
    some = await waybill.some_record()
    await waybill.pool.execute(TAMPER["unlock"])
    await waybill.pool.execute(TAMPER["set_entry"].format(column=column), some, 2, value)
    assert "CHANGED" in await waybill("record", "verify", some, status=DAMAGED)
    await waybill("record", "export", some, status=DAMAGED)
