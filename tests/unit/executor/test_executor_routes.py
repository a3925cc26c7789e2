"""Routes and secrets: what the catalog gives a call, and what is missing without a call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from executor_builders import a_job, a_route, some_orders
from executor_raw_server import Exchange, RawServer, response
from support.usage import NO_USAGE

from schemas.codes import FailureClass
from services.executor.adapter import Answer, Failure, WireRequest
from services.executor.routes import Routes
from services.executor.transport import Broken, Transport
from services.policy import Catalog, Model, Provider
from services.policy.prices import PriceSpec
from services.runtime.secrets import Secrets

CLAIM = UUID(int=9)
ANSWER = b'{"model":"m","choices":[{"message":{"content":"Because."},"finish_reason":"stop"}]}'


def a_catalog(base_url: str | None = "http://127.0.0.1:9", **changes: Any) -> Catalog:
    """Return a catalog with one model, at 1 US dollar in and 2 out per million tokens, with or without batches."""
    fields = {"adapter": "openai-compatible", "base_url": base_url, "regions": ["eu"], "retention_days": 0}
    provider = Provider(**{**fields, "name": "alpha", **changes})
    model = Model(
        provider="alpha",
        name="small",
        version="1",
        capabilities=frozenset({"chat"}),
        context_window=1_000,
        max_output_tokens=500,
        quality={"default": 0.5},
        latency_ms=1,
        price=PriceSpec(as_of=date(2026, 1, 1), input=Decimal(1), output=Decimal(2)),
    )
    return Catalog([provider], [model], {"default": 100})


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A provider that answers."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(response(ANSWER, "X-Request-Id: r-1"))

    server = RawServer(answer)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    """A pool of connections."""
    transport = Transport(2)
    yield transport
    await transport.close()


# -- secrets ------------------------------------------------------------------------------------------------------


def write(file: Path, text: str, at_ns: int) -> None:
    """Write a file as of a moment."""
    file.write_text(text)
    os.utime(file, ns=(at_ns, at_ns))


def test_a_secret_is_a_file_read_again_when_it_changes(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    write(tmp_path / "KEY", "first\n", 1_000_000_000)
    assert secrets.get("KEY") == "first"

    write(tmp_path / "KEY", "second", 1_000_000_001)
    assert secrets.get("KEY") == "second"
    assert secrets.get("KEY") == "second"


def test_without_a_file_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "from the environment")
    assert Secrets(None).get("KEY") == "from the environment"
    assert Secrets(tmp_path).get("KEY") == "from the environment"

    (tmp_path / "KEY").write_text("from the file")
    assert Secrets(tmp_path).get("KEY") == "from the file"


def test_a_secret_that_was_taken_away_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    secrets = Secrets(tmp_path)
    (tmp_path / "KEY").write_text("x")
    assert secrets.get("KEY") == "x"

    (tmp_path / "KEY").unlink()
    assert secrets.get("KEY") is None


def test_what_cannot_be_read_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    (tmp_path / "KEY").mkdir()

    assert Secrets(tmp_path).get("KEY") is None
    assert Secrets(tmp_path / "nowhere").get("KEY") is None


# -- routes -------------------------------------------------------------------------------------------------------


def routes_of(catalog: Catalog, transport: Transport, secrets: Path | None = None) -> Routes:
    """Return the routes of a catalog."""
    return Routes(catalog, transport, Secrets(secrets))


def test_only_what_the_catalog_still_has_is_known() -> None:
    routes = Routes(a_catalog(), Transport(1), Secrets(None))

    assert routes.knows(a_route())
    assert not routes.knows(a_route("beta"))
    assert not routes.knows(a_route(model="large"))
    # Its price is asked for next: a tier that was taken away is not there.
    assert not routes.knows(a_route(tier="batch"))
    assert Routes(a_catalog(batch={"discount": "0.5"}), Transport(1), Secrets(None)).knows(a_route(tier="batch"))


def test_money_comes_from_the_catalog() -> None:
    routes = Routes(a_catalog(batch={"discount": "0.5"}), Transport(1), Secrets(None))
    usage = {**NO_USAGE, "input_tokens": 100, "output_tokens": 10}

    assert routes.cost(a_route(), usage) == Decimal("0.00012")  # type: ignore[arg-type]
    assert routes.cost(a_route(tier="batch"), usage) == Decimal("0.00006")  # type: ignore[arg-type]
    assert routes.cost(a_route(), NO_USAGE) == 0
    assert routes.worst_case(a_route(), 100, 10) == Decimal("0.00012")
    # A model never writes more than it can.
    assert routes.worst_case(a_route(), 0, 10_000) == routes.worst_case(a_route(), 0, 500)


async def test_a_call_carries_secret_claim_and_the_provider_s_headers(
    server: RawServer, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "ALPHA_KEY").write_text("s3cret")
    catalog = a_catalog(f"{server.address}/v1", secret="ALPHA_KEY", headers={"X-Team": "ops"})
    routes = routes_of(catalog, transport, tmp_path)

    result = await routes.call(routes.request(a_job(), some_orders(), a_route()), a_route(), CLAIM, timeout_s=30)

    assert isinstance(result.outcome, Answer)
    assert (result.outcome.text, result.status, result.request_id) == ("Because.", 200, "r-1")
    (exchange,) = server.exchanges
    assert exchange.head[0] == "POST /v1/chat/completions HTTP/1.1"
    assert exchange.header("authorization") == ["Bearer s3cret"]
    assert exchange.header("x-waybill-attempt") == [str(CLAIM)]
    assert exchange.header("x-team") == ["ops"]


async def test_a_rotated_secret_is_used_at_the_next_call(
    server: RawServer, transport: Transport, tmp_path: Path
) -> None:
    routes = routes_of(a_catalog(server.address, secret="ALPHA_KEY"), transport, tmp_path)
    for number, secret in enumerate(["old", "new"]):
        write(tmp_path / "ALPHA_KEY", secret, 1_000_000_000 + number)
        await routes.call(WireRequest("/x", b"{}"), a_route(), CLAIM, timeout_s=30)

    assert [exchange.header("authorization") for exchange in server.exchanges] == [["Bearer old"], ["Bearer new"]]


async def test_a_provider_without_a_secret_is_called_without_one(server: RawServer, transport: Transport) -> None:
    await routes_of(a_catalog(server.address), transport).call(WireRequest("/x", b"{}"), a_route(), CLAIM, timeout_s=30)

    assert server.exchanges[0].header("authorization") == []


async def test_a_missing_secret_is_a_failure_without_a_call(
    server: RawServer, transport: Transport, tmp_path: Path
) -> None:
    routes = routes_of(a_catalog(server.address, secret="NOT_THERE_KEY"), transport, tmp_path)

    result = await routes.call(WireRequest("/x", b"{}"), a_route(), CLAIM, timeout_s=30)

    assert result.outcome == Failure(FailureClass.AUTH)
    assert (result.status, server.exchanges) == (None, [])


async def test_a_provider_that_has_no_address_here_is_a_failure_without_a_call(transport: Transport) -> None:
    result = await routes_of(a_catalog(None), transport).call(WireRequest("/x", b"{}"), a_route(), CLAIM, timeout_s=30)

    assert result.outcome == Failure(FailureClass.MODEL_GONE)


async def test_a_call_that_breaks_is_told_as_it_broke(server: RawServer, transport: Transport) -> None:
    async def break_off(exchange: Exchange) -> None:
        exchange.writer.close()

    server.behaviour = break_off
    result = await routes_of(a_catalog(server.address), transport).call(
        WireRequest("/x", b"{}"), a_route(), CLAIM, timeout_s=30
    )

    assert result.outcome == Broken(FailureClass.TIMEOUT_SENT)
    assert (result.status, result.request_id) == (None, None)
