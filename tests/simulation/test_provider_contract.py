"""One contract for the provider in memory and the HTTP simulator: what a call brings, and what it is charged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
import pytest_asyncio

from schemas.codes import FailureClass
from services.executor.adapter import Answer, Failure
from services.executor.openai_compatible import OpenAICompatible
from services.executor.routes import CLAIM_HEADER
from services.executor.transport import Broken, Endpoint, HttpAnswer, Transport
from services.standalone.simulator import Charge, SimulatorSettings, read_ledger, start_simulator
from simulation.provider import Fate, Kind, MemoryProvider, MemoryTransport

HANGS_S: Final = 3.0
"""How long a call is waited for that is never answered."""
BOUND_S: Final = 120.0
SCRIPTS: Final[dict[Kind, str]] = {
    "answer": "latency=1",
    "status": "status=503",
    "refuse": "refuse",
    "malformed": "malformed",
    "lost": "close",
    "hang": "hang",
}
ADAPTER: Final = OpenAICompatible()


class Bench(Protocol):
    """A provider with one kind of fate for every call."""

    async def call(self, kind: Kind, claim: UUID) -> HttpAnswer | Broken:
        """Make one call under a claim."""

    def charges(self) -> Sequence[Charge]:
        """Return what was charged so far."""


class MemoryBench:
    """The provider in memory."""

    def __init__(self) -> None:
        self._kind: Kind = "answer"
        self._provider = MemoryProvider(lambda: datetime.now(UTC), lambda: Fate(self._kind, 0.0))
        self._transport = MemoryTransport(self._provider)

    async def call(self, kind: Kind, claim: UUID) -> HttpAnswer | Broken:
        self._kind = kind
        return await self._transport.post(_endpoint("http://simulated"), _body(), _header(claim), _timeout_s(kind))

    def charges(self) -> Sequence[Charge]:
        return self._provider.charges


class HttpBench:
    """The simulator behind the executor's own transport."""

    def __init__(self, url: str, ledger: Path) -> None:
        self._url = url
        self._ledger = ledger
        self.transport = Transport(4)

    async def call(self, kind: Kind, claim: UUID) -> HttpAnswer | Broken:
        if kind == "unsent":  # nobody listens on the discard port of a test machine
            return await self.transport.post(_endpoint("http://127.0.0.1:9"), _body(), _header(claim), _timeout_s(kind))
        body = _body(f"[[sim: {SCRIPTS[kind]}]]")
        return await self.transport.post(_endpoint(self._url), body, _header(claim), _timeout_s(kind))

    def charges(self) -> Sequence[Charge]:
        return read_ledger(self._ledger)


@pytest_asyncio.fixture(params=["memory", "http"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A provider of either kind."""
    if request.param == "memory":
        yield MemoryBench()
        return
    async with AsyncExitStack() as stack:
        ledger = tmp_path / "charges.jsonl"
        simulator = await start_simulator(SimulatorSettings(ledger=ledger, latency_ms=(0, 0)))
        stack.push_async_callback(simulator.aclose)
        http = HttpBench(simulator.url, ledger)
        stack.push_async_callback(http.transport.close)
        yield http


def _timeout_s(kind: Kind) -> float:
    return HANGS_S if kind == "hang" else BOUND_S


def _endpoint(url: str) -> Endpoint:
    return Endpoint(httpx.URL(f"{url}/v1/chat/completions"), ((b"content-type", b"application/json"),))


def _body(text: str = "Hello") -> bytes:
    return orjson.dumps({"model": "sim-ok", "messages": [{"role": "user", "content": text}], "max_tokens": 50})


def _header(claim: UUID) -> tuple[bytes, bytes]:
    return CLAIM_HEADER, str(claim).encode()


def _read(told: HttpAnswer | Broken) -> Answer | Failure:
    assert isinstance(told, HttpAnswer)
    return ADAPTER.read(told.status, told.headers, told.body)


async def test_an_answer_is_charged_once_under_its_claim_with_the_tokens_it_tells(bench: Bench) -> None:
    claim = uuid4()
    told = await bench.call("answer", claim)
    answer = _read(told)

    assert isinstance(answer, Answer)
    assert answer.text
    [charge] = bench.charges()
    assert charge.attempt == str(claim)
    assert charge.outcome == "answered"
    assert isinstance(told, HttpAnswer)
    assert told.headers["x-request-id"] == charge.charge_id
    assert answer.usage is not None
    assert (answer.usage["input_tokens"], answer.usage["output_tokens"]) == (
        charge.prompt_tokens,
        charge.completion_tokens,
    )


@pytest.mark.parametrize(
    ("kind", "failure", "outcome"),
    [
        ("status", FailureClass.OVERLOADED, None),
        ("refuse", FailureClass.REFUSED, "refused"),
        ("malformed", FailureClass.MALFORMED_ANSWER, "malformed"),
    ],
)
async def test_a_failure_that_was_answered(
    bench: Bench, kind: Kind, failure: FailureClass, outcome: str | None
) -> None:
    told = _read(await bench.call(kind, uuid4()))

    assert isinstance(told, Failure)
    assert told.failure_class is failure
    assert [charge.outcome for charge in bench.charges()] == ([] if outcome is None else [outcome])


@pytest.mark.parametrize(("kind", "outcome"), [("lost", "closed"), ("hang", "hang")])
async def test_an_answer_that_never_came_was_charged_and_is_in_doubt(bench: Bench, kind: Kind, outcome: str) -> None:
    told = await bench.call(kind, uuid4())

    assert told == Broken(FailureClass.TIMEOUT_SENT)
    assert told.in_doubt
    assert [charge.outcome for charge in bench.charges()] == [outcome]


async def test_a_call_that_was_never_sent_is_not_charged(bench: Bench) -> None:
    told = await bench.call("unsent", uuid4())

    assert told == Broken(FailureClass.UNAVAILABLE)
    assert not told.in_doubt
    assert list(bench.charges()) == []


async def test_every_call_is_charged_for_itself(bench: Bench) -> None:
    claims = [uuid4(), uuid4()]
    for claim in claims:
        await bench.call("answer", claim)

    charges = bench.charges()
    assert [charge.attempt for charge in charges] == [str(claim) for claim in claims]
    assert [charge.nth for charge in charges] == [1, 2]
