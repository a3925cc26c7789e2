"""What goes wrong on purpose: by model, by script, by knob; and what each of them charges."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from simulator_client import Client, Start, chat_body
from simulator_shapes import Completion, Error

from services.standalone.simulator import server
from services.standalone.simulator.calls import InvalidCallError
from services.standalone.simulator.draw import Draw
from services.standalone.simulator.knobs import Knob, TokenBucket
from services.standalone.simulator.plan import plan_call
from services.standalone.simulator.script import NO_SCRIPT, parse_script
from services.standalone.simulator.settings import SimulatorSettings

CHAT = "/v1/chat/completions"


def outcomes(client: Client) -> list[str]:
    return [charge.outcome for charge in client.charges()]


async def test_refuse_is_a_refusal_and_charged(client: Client) -> None:
    for completion in (await client.chat(model="sim-refuse"), await client.chat("[[sim: refuse]]")):
        assert completion.message.refusal
        assert completion.message.content is None
        assert completion.finish_reason == "stop"
    assert outcomes(client) == ["refused", "refused"]


async def test_fail_is_a_server_error_and_free(client: Client) -> None:
    status, error, _ = await client.error(chat_body(model="sim-fail"))
    assert (status, error.error.type) == (500, "server_error")
    assert outcomes(client) == []


async def test_malformed_is_a_200_that_is_not_json_and_charged(client: Client) -> None:
    for number in range(6):
        status, body, _ = await client.post(CHAT, chat_body(f"{number}", "sim-malformed"))
        assert status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
    assert outcomes(client) == ["malformed"] * 6


@pytest.mark.parametrize(("script", "outcome"), [("close", "closed"), ("truncate", "truncated")])
async def test_a_lost_answer_is_charged(client: Client, script: str, outcome: str) -> None:
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
        await client.post(CHAT, chat_body(), x_sim_script=script)
    assert outcomes(client) == [outcome]


async def test_hang_is_charged_and_ends_when_the_client_leaves(client: Client) -> None:
    call = asyncio.create_task(client.post(CHAT, chat_body(), x_sim_script="hang"))
    await client.charged(1)
    assert not call.done()
    call.cancel()
    await asyncio.wait([call])
    assert outcomes(client) == ["hang"]


async def test_a_hang_does_not_hold_up_the_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SHUTDOWN_GRACE_S", 3_600.0)
    client = await start()
    call = asyncio.create_task(client.post(CHAT, chat_body(), x_sim_script="hang"))
    await client.charged(1)
    async with asyncio.timeout(60):
        await client.stop()
    with pytest.raises(aiohttp.ClientError):
        await call


async def test_a_scripted_429_says_when_to_return(client: Client) -> None:
    status, error, headers = await client.error(chat_body("Please [[sim: status=429 retry_after=7]] now"))
    assert (status, error.error.code) == (429, "rate_limit_exceeded")
    assert headers["retry-after"] == "7"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "7s"
    assert headers["x-request-id"]
    assert outcomes(client) == []


async def test_a_spent_quota_names_no_time(client: Client) -> None:
    status, error, headers = await client.error(chat_body(), x_sim_script="status=429 code=insufficient_quota")
    assert (status, error.error.code, error.error.type) == (429, "insufficient_quota", "insufficient_quota")
    assert "retry-after" not in headers


async def test_fail_first_then_answer(client: Client) -> None:
    body = chat_body("[[sim: fail=2 status=502]]")
    assert [(await client.post(CHAT, body))[0] for _ in range(4)] == [502, 502, 200, 200]
    assert [charge.nth for charge in client.charges()] == [3, 4]


async def test_lose_the_first_answer_then_give_one(client: Client) -> None:
    with pytest.raises(aiohttp.ClientError):
        await client.post(CHAT, chat_body(), x_sim_script="fail=1 close")
    status, _, _ = await client.post(CHAT, chat_body(), x_sim_script="fail=1 close")
    assert status == 200
    assert outcomes(client) == ["closed", "answered"]


async def test_the_header_goes_before_the_prompt(client: Client) -> None:
    status, body, _ = await client.post(CHAT, chat_body("[[sim: status=503]]"), x_sim_script="tokens=3")
    assert status == 200
    assert Completion.model_validate_json(body).usage.completion_tokens == 3


async def test_embeddings_follow_scripts_too(client: Client) -> None:
    body = {"model": "sim-embed", "input": "[[sim: status=503]]"}
    assert (await client.error(body, "/v1/embeddings"))[0] == 503


async def test_an_outage_and_its_end(client: Client) -> None:
    await client.control(model="*", mode="status:503")
    assert (await client.error(chat_body()))[0] == 503
    assert (await client.error(chat_body("[[sim: tokens=1]]", "other")))[0] == 503
    await client.control(model="*", mode="ok")
    await client.chat()
    assert outcomes(client) == ["answered"]
    assert client.charges()[0].nth == 1, "what an outage turned away must not count as a run"


async def test_a_models_own_knob_goes_before_the_common_one(client: Client) -> None:
    await client.control(model="*", mode="status:500")
    await client.control(model="sim-ok", mode="ok")
    await client.chat()
    assert (await client.error(chat_body(model="other")))[0] == 500
    assert len((await client.get("/sim/control"))[1]["knobs"]) == 2
    assert (await client.post("/sim/reset", None))[0] == 200
    assert (await client.get("/sim/control"))[1]["knobs"] == []
    await client.chat(model="other")


async def test_an_outage_that_loses_answers_charges(client: Client) -> None:
    await client.control(model="sim-ok", mode="close")
    with pytest.raises(aiohttp.ClientError):
        await client.chat()
    assert outcomes(client) == ["closed"]


async def test_a_rate_limit_turns_away_and_says_so(client: Client) -> None:
    await client.control(model="*", rate_limit_per_s=0.001)
    status, _, headers = await client.post(CHAT, chat_body())
    assert (status, headers["x-ratelimit-remaining-requests"]) == (200, "0")
    status, error, headers = await client.error(chat_body())
    assert (status, error.error.code) == (429, "rate_limit_exceeded")
    assert 900 <= int(headers["retry-after"]) <= 1_000
    assert headers["x-ratelimit-reset-requests"].startswith("16m")
    assert outcomes(client) == ["answered"]


@pytest.mark.parametrize(
    "knob",
    [
        {"mode": "sideways"},
        {"mode": "status:200"},
        {"latency_ms": [5, 1]},
        {"latency_ms": [-1, 1]},
        {"rate_limit_per_s": 0},
        {"fault_rate": 1.5},
        {"unknown": 1},
    ],
)
async def test_a_knob_that_means_nothing_is_refused(client: Client, knob: Any) -> None:
    status, body, _ = await client.post("/sim/control", knob)
    assert status == 400
    assert Error.model_validate_json(body).error.code == "invalid_knob"


def test_a_token_bucket_fills_with_time() -> None:
    bucket = TokenBucket(2.0, now=0.0)
    assert [bucket.take(0.0)[0] for _ in range(3)] == [True, True, False]
    assert bucket.take(0.0)[1].reset_s == pytest.approx(0.5)
    assert bucket.take(0.5)[0]
    assert [bucket.take(100.0)[0] for _ in range(3)] == [True, True, False]


def planned_latency_ms(model: str, script: str = "", **knob: Any) -> float:
    settings = SimulatorSettings(ledger=__file__, latency_ms=(10, 20), slow_ms=2_000)  # type: ignore[arg-type]
    parsed = parse_script(script) if script else NO_SCRIPT
    return plan_call(model, parsed, Knob(**knob), settings, Draw(0, b"body", 1), 1).latency_s * 1_000


def test_latency_comes_from_the_script_then_the_knob_then_the_model() -> None:
    assert 10 <= planned_latency_ms("sim-ok") <= 20
    assert planned_latency_ms("sim-slow") == 2_000
    assert planned_latency_ms("sim-slow", latency_ms=(7, 7)) == 7
    assert planned_latency_ms("sim-slow", "latency=3", latency_ms=(7, 7)) == 3


@pytest.mark.parametrize(
    "source",
    ["status=200", "status=abc", "status", "hang=1", "hang close", "hang status=500", "retry_after=1", "fail=0", "x"],
)
def test_a_script_that_means_nothing_is_refused(source: str) -> None:
    with pytest.raises(InvalidCallError):
        parse_script(source)
