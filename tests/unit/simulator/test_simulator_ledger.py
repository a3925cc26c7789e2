"""The charge ledger: what it holds, when it is durable, and how it fails."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from simulator_client import Client, Start, chat_body

from services.standalone.simulator import Charge, LedgerError, read_ledger
from services.standalone.simulator.ledger import Ledger


def charge(number: int) -> Charge:
    return Charge(
        charge_id=f"req-{number}",
        at=datetime(2026, 1, 31, tzinfo=UTC),
        model="sim-ok",
        digest="0" * 64,
        nth=number + 1,
        attempt=None,
        prompt_tokens=3,
        completion_tokens=4,
        outcome="answered",
    )


async def test_a_call_is_charged_with_what_its_answer_says(client: Client) -> None:
    body = orjson.dumps(chat_body("a prompt that no ledger may hold"))
    headers = {"x-waybill-attempt": "claim-1", "content-type": "application/json"}
    async with client.session.post("/v1/chat/completions", data=body, headers=headers) as response:
        usage = (await response.json())["usage"]
        request_id = response.headers["x-request-id"]
    [only] = client.charges()
    assert only.charge_id == request_id
    assert only.attempt == "claim-1"
    assert only.digest == hashlib.sha256(body).hexdigest()
    assert (only.prompt_tokens, only.completion_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (only.model, only.nth, only.outcome) == ("sim-ok", 1, "answered")
    assert only.at.tzinfo is not None
    assert b"no ledger may hold" not in client.ledger.read_bytes()


async def test_the_summary_adds_up_and_survives_a_reset(client: Client) -> None:
    for model in ("sim-ok", "sim-ok", "sim-refuse"):
        await client.chat(model=model)
    await client.post("/sim/reset", None)
    _, summary = await client.get("/sim/ledger/summary")
    assert summary["charges"] == 3
    assert summary["by_model"] == {"sim-ok": 2, "sim-refuse": 1}
    assert summary["by_outcome"] == {"answered": 2, "refused": 1}
    assert summary["completion_tokens"] == sum(one.completion_tokens for one in client.charges())


async def test_a_restart_goes_on_with_the_same_file(start: Start) -> None:
    first = await start()
    await first.chat()
    await first.stop()
    second = await start(ledger=first.ledger)
    await second.chat()
    _, summary = await second.get("/sim/ledger/summary")
    assert summary["charges"] == len(second.charges()) == 2


async def test_one_sync_serves_all_that_arrived_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "charges.jsonl")
    real_sync, syncs = os.fsync, []

    def counted_sync(fd: int) -> None:
        real_sync(fd)
        syncs.append(len(read_ledger(ledger.path)))

    monkeypatch.setattr(os, "fsync", counted_sync)
    durable = [ledger.append(charge(number)) for number in range(100)]
    await durable[0]
    assert syncs[0] == 1, "the first charge goes out alone"
    await asyncio.gather(*durable)
    assert syncs == [1, 100], "all others follow in one group"
    assert [one.charge_id for one in read_ledger(ledger.path)] == [f"req-{number}" for number in range(100)]
    assert (ledger.totals.groups, ledger.totals.largest_group) == (2, 99)
    await ledger.close()


async def test_an_answer_waits_for_the_sync(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    real_sync, on_disk = os.fsync, []

    def late_sync(fd: int) -> None:
        on_disk.append(len(client.charges()))
        real_sync(fd)

    monkeypatch.setattr(os, "fsync", late_sync)
    for number in range(1, 4):
        await client.chat()
        assert on_disk == list(range(1, number + 1)), "each answer came after a sync that covered its line"


async def test_a_torn_line_is_no_charge_and_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "charges.jsonl"
    ledger = Ledger(path)
    await ledger.append(charge(0))
    await ledger.close()
    whole = path.read_bytes()
    for torn in (whole[:-1], b'{"charge_id":', b"x" * 200_000):
        path.write_bytes(whole + torn)
        assert read_ledger(path) == [charge(0)]
        ledger = Ledger(path)
        assert ledger.totals.charges == 1
        await ledger.close()
        assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])
    await Ledger(path).close()
    assert path.read_bytes() == b""


def test_damage_elsewhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "charges.jsonl"
    path.write_bytes(orjson.dumps(charge(0)) + b"\n{}\n" + orjson.dumps(charge(1)) + b"\n")
    with pytest.raises(LedgerError, match="line 2"):
        read_ledger(path)
    with pytest.raises(LedgerError, match="No such file"):
        read_ledger(tmp_path / "missing.jsonl")


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "charges.jsonl")
    with pytest.raises(LedgerError, match="in use"):
        Ledger(tmp_path / "charges.jsonl")
    await ledger.close()
    await Ledger(tmp_path / "charges.jsonl").close()


async def test_a_ledger_that_cannot_be_written_stops_the_selling(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_sync(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken_sync)
    assert (await client.error(chat_body()))[0] == 500
    monkeypatch.undo()
    assert (await client.error(chat_body("again")))[0] == 500, "nobody knows what is durable any more"
    assert (await client.get("/ready"))[0] == 503
