"""The simulator as a process: started, killed, stopped, and started where it cannot run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from services.standalone.simulator import read_ledger

Launch = Callable[..., Awaitable[Process]]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Start the command with arguments; what still runs in the end is killed."""
    processes: list[Process] = []

    async def begin(*arguments: str) -> Process:
        command = [sys.executable, "-m", "services.standalone.simulator", *arguments]
        processes.append(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE))
        return processes[-1]

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def url_of(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        url: str = json.loads(await process.stdout.readline())["url"]
    return url


async def call_until_it_dies(
    session: aiohttp.ClientSession, caller: int, answered: list[str], enough: asyncio.Event
) -> None:
    for number in range(100_000):
        body = {"model": "sim-ok", "messages": [{"role": "user", "content": f"{caller}/{number}"}]}
        attempt = f"{caller}-{number}"
        try:
            async with session.post(
                "/v1/chat/completions", json=body, headers={"x-waybill-attempt": attempt}
            ) as answer:
                await answer.read()
                assert answer.status == 200
        except aiohttp.ClientError:
            return
        answered.append(attempt)
        if len(answered) >= 300:
            enough.set()


async def test_after_a_kill_every_answered_call_is_in_the_ledger(launch: Launch, tmp_path: Path) -> None:
    ledger = tmp_path / "charges.jsonl"
    process = await launch("--ledger", str(ledger), "--latency-ms", "0:3")
    answered: list[str] = []
    enough = asyncio.Event()
    async with aiohttp.ClientSession(await url_of(process)) as session, asyncio.TaskGroup() as callers:
        for caller in range(16):
            callers.create_task(call_until_it_dies(session, caller, answered, enough))
        async with asyncio.timeout(60):
            await enough.wait()
        process.kill()
    assert await process.wait() == -signal.SIGKILL
    charged = Counter(charge.attempt for charge in read_ledger(ledger))
    assert set(answered) <= set(charged)
    assert set(charged.values()) == {1}
    assert len(charged) - len(answered) <= 16, "at most what was in flight is charged without an answer"

    again = await launch("--ledger", str(ledger))
    async with aiohttp.ClientSession(await url_of(again)) as session, session.get("/sim/ledger/summary") as summary:
        assert (await summary.json())["charges"] == len(charged)


async def test_sigterm_finishes_what_is_in_flight(launch: Launch, tmp_path: Path) -> None:
    ledger = tmp_path / "charges.jsonl"
    process = await launch("--ledger", str(ledger), "--slow-ms", "300")
    async with aiohttp.ClientSession(await url_of(process)) as session:
        body = {"model": "sim-slow", "messages": [{"role": "user", "content": "wait for me"}]}
        call = asyncio.create_task(session.post("/v1/chat/completions", json=body))
        async with asyncio.timeout(60):
            while not read_ledger(ledger):
                async with session.get("/ready") as ready:
                    assert ready.status == 200
            process.terminate()
            async with await call as answer:
                assert answer.status == 200
                await answer.read()
            assert await process.wait() == 0
    assert [charge.outcome for charge in read_ledger(ledger)] == ["answered"]


async def test_a_taken_port_is_told_plainly(launch: Launch, tmp_path: Path) -> None:
    first = await launch("--ledger", str(tmp_path / "one.jsonl"))
    port = (await url_of(first)).rpartition(":")[2]
    second = await launch("--ledger", str(tmp_path / "two.jsonl"), "--port", port)
    _, errors = await second.communicate()
    assert second.returncode == 1
    assert f"127.0.0.1:{port} is taken" in errors.decode()
    assert "--port" in errors.decode()
    assert "Traceback" not in errors.decode()


@pytest.mark.parametrize("arguments", [["--latency-ms", "9:1"], ["--fault-rate", "2"], ["--port", "x"]])
async def test_arguments_that_mean_nothing_are_told(launch: Launch, tmp_path: Path, arguments: list[str]) -> None:
    process = await launch("--ledger", str(tmp_path / "charges.jsonl"), *arguments)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert arguments[0] in errors.decode()


async def test_a_ledger_in_no_directory_is_told(launch: Launch, tmp_path: Path) -> None:
    process = await launch("--ledger", os.fspath(tmp_path / "missing" / "charges.jsonl"))
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert "No such file" in errors.decode()
    assert "Traceback" not in errors.decode()
