"""The sweeper: wakes whoever must go on with a silent record, and nobody where somebody still may."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from support import sql
from support.attempts import claimed, ended, finished, held, lease
from support.flow import Flow, chain_of, going_to, messages_in, record_of, seal
from support.jobs import job, take_in
from support.offsets import commit, publish_at
from support.servers import OpenHost

from schemas.codes import ErrorCode, Status
from schemas.messages import Classified, Message, Outcome, Routed
from schemas.topics import CLASSIFIED, OUTCOMES, RESULTS, ROUTED_BACKGROUND, ROUTED_BATCH, Topic
from services.policy import Policy
from services.recorder.progress import KafkaProgress
from services.recorder.sweeper import MAX_DOUBLINGS, Sweeper
from services.router.release import Releaser
from services.runtime import queries
from services.runtime.ids import now

_SQL = sql.load("recorder")
_CLI = queries.load("cli_records")
LATER = timedelta(minutes=5)
"""How far the sweeper's clock is ahead: more than the time of silence that it asks for."""
OUTPUT = {"choices": [{"message": {"role": "assistant", "content": "Bonjour"}}]}


@pytest_asyncio.fixture
async def flow(host: OpenHost, policy: Policy) -> Flow:
    return await Flow.open(host, policy)


@pytest.fixture
def sweeper(flow: Flow) -> Sweeper:
    return Sweeper(flow.at("recorder"), lambda: now() + LATER, KafkaProgress(flow.host.settings))


async def silent(flow: Flow, *records: UUID) -> None:
    await flow.host.pool.execute(_SQL["silent_for"], list(records))


async def swept(flow: Flow, sweeper: Sweeper, record_id: UUID) -> tuple[int, int, int | None]:
    """Sweep; return how many were woken, how often this record was, and the seconds until it is looked at again."""
    before = await flow.host.pool.fetchval(_SQL["clock"])
    woken = await sweeper.sweep()
    after = await flow.host.pool.fetchval(_SQL["clock"])
    row = await flow.host.pool.fetchrow(_SQL["open_record"], record_id)
    assert row is not None
    # The interval counts from a moment between the two; it is the one of the possible ones that fits.
    intervals = [round(flow.host.settings.sweep_after_s) * 2**n for n in range(MAX_DOUBLINGS + 2)]
    fits = [s for s in intervals if before <= row["next_sweep_at"] - timedelta(seconds=s) <= after]
    return woken, row["sweeps"], fits[0] if fits else None


async def taken_in(flow: Flow) -> UUID:
    return record_of((await take_in(flow.classifier, job()))[0])


async def decided(flow: Flow) -> UUID:
    return (await flow.decided(job()))[0]


async def decided_batch(flow: Flow) -> UUID:
    return (await flow.decided(job(latency_class="batch")))[0]


async def rejected(flow: Flow) -> UUID:
    return record_of((await take_in(flow.classifier, job(colour="red")))[0])


async def attempted(flow: Flow) -> UUID:
    record_id = await decided(flow)
    await finished(flow.host, await claimed(flow.host, record_id), None)
    return record_id


async def validated(flow: Flow) -> UUID:
    record_id = await decided(flow)
    await finished(flow.host, await claimed(flow.host, record_id), OUTPUT)
    return record_id


async def judged_charged(flow: Flow) -> UUID:
    record_id = await decided(flow)
    hold = await held(flow.host, record_id)
    await flow.host.pool.execute(_CLI["set_verdict"], record_id, hold.seq, "charged")
    await without_topics(flow, Releaser(flow.at("router"), flow.policy, now).release_due)
    return record_id


async def sealed_unpublished(flow: Flow) -> UUID:
    record_id, chain = await flow.decided(job())
    outcome = ended(flow.host, chain[-1], Status.EXPIRED, ErrorCode.DEADLINE_PASSED)
    await without_topics(flow, lambda: seal(flow.recorder, [outcome]))
    return record_id


class LostError(Exception):
    """The process died between its transaction and its produce."""


async def without_topics(flow: Flow, work: Callable[[], Awaitable[object]]) -> None:
    """Do some work whose messages are lost: what it sends never reaches Kafka."""
    send = flow.host.producer.send

    async def lost(messages: object) -> None:
        raise LostError

    flow.host.producer.send = lost  # type: ignore[method-assign]
    try:
        with pytest.raises(LostError):
            await work()
    finally:
        flow.host.producer.send = send  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("made", "topic"),
    [
        (taken_in, CLASSIFIED),
        (rejected, OUTCOMES),
        (decided, ROUTED_BACKGROUND),
        (decided_batch, ROUTED_BATCH),
        (attempted, ROUTED_BACKGROUND),
        (validated, ROUTED_BACKGROUND),
        (judged_charged, OUTCOMES),
        (sealed_unpublished, OUTCOMES),
    ],
    ids=lambda value: value.name if isinstance(value, Topic) else value.__name__,
)
async def test_a_silent_record_wakes_whoever_must_go_on(
    flow: Flow, sweeper: Sweeper, made: Callable[[Flow], Awaitable[UUID]], topic: Topic
) -> None:
    record_id = await made(flow)
    assert await sweeper.sweep() == 0, "its time of silence is not over"
    await silent(flow, record_id)
    assert await sweeper.sweep() == 1
    [(key, value)] = await messages_in(flow.host, topic, 1)
    assert key == str(record_id).encode()
    head = (await chain_of(flow.host, record_id))[-1]
    for other in (CLASSIFIED, ROUTED_BACKGROUND, ROUTED_BATCH, OUTCOMES, RESULTS):
        assert other == topic or await messages_in(flow.host, other, 0) == []
    models: dict[str, type[Message]] = {CLASSIFIED.name: Classified, OUTCOMES.name: Outcome}
    message = models.get(topic.name, Routed).model_validate_json(value)
    assert (message.head.seq, message.head.hash) == (head.seq, head.hash.hex())
    if isinstance(message, Routed):
        assert message.resume == (made in (attempted, validated))


async def test_what_was_swept_goes_on_to_its_end(flow: Flow, sweeper: Sweeper) -> None:
    record_id = await sealed_unpublished(flow)
    await silent(flow, record_id)
    assert await sweeper.sweep() == 1
    [(_, value)] = await messages_in(flow.host, OUTCOMES, 1)
    await flow.recorder.run([Outcome.model_validate_json(value)])
    assert [key for key, _ in await messages_in(flow.host, RESULTS, 1)] == [str(record_id).encode()]
    await silent(flow, record_id)
    assert await sweeper.sweep() == 0, "its result is acknowledged: nobody looks after it any more"


async def test_a_backlog_of_the_stage_is_not_a_loss(flow: Flow, sweeper: Sweeper) -> None:
    messages = await take_in(flow.classifier, job())
    await flow.host.producer.send(messages)
    await silent(flow, record_of(messages[0]))
    assert await sweeper.sweep() == 0, "the router has not come to it yet"
    await commit(flow.host.settings, "router", CLASSIFIED)
    await silent(flow, record_of(messages[0]))
    assert await sweeper.sweep() == 1, "the router has passed it"
    assert len(await messages_in(flow.host, CLASSIFIED, 2)) == 2


async def test_a_backlog_of_the_recorder_is_not_a_loss_whatever_the_stage_has_done(
    flow: Flow, sweeper: Sweeper
) -> None:
    record_id = await taken_in(flow)
    await publish_at(flow.host.settings, OUTCOMES, [(0, now())])
    await silent(flow, record_id)
    assert await sweeper.sweep() == 0, "its outcome may be waiting for the recorder"
    await commit(flow.host.settings, "recorder", OUTCOMES)
    await silent(flow, record_id)
    assert await sweeper.sweep() == 1


async def test_an_older_backlog_of_another_stage_does_not_matter(flow: Flow, sweeper: Sweeper) -> None:
    record_id = await taken_in(flow)
    await publish_at(flow.host.settings, ROUTED_BACKGROUND, [(0, now() - timedelta(hours=1))])
    await silent(flow, record_id)
    assert await sweeper.sweep() == 1


async def test_a_record_that_was_just_written_is_left_alone(flow: Flow) -> None:
    record_id = await taken_in(flow)
    await silent(flow, record_id)
    assert await Sweeper(flow.at("recorder"), now, KafkaProgress(flow.host.settings)).sweep() == 0


async def test_a_held_record_is_nobodys_to_wake(flow: Flow, sweeper: Sweeper) -> None:
    record_id = await decided(flow)
    await held(flow.host, record_id, deadline=timedelta(hours=-1))
    await silent(flow, record_id)
    assert await sweeper.sweep() == 0


@pytest.mark.parametrize(
    ("leased", "lasts", "woken"),
    [
        (timedelta(minutes=9), timedelta(minutes=9), 0),
        (timedelta(seconds=-1), timedelta(minutes=9), 1),
        (None, timedelta(minutes=9), 1),
        (timedelta(minutes=9), timedelta(minutes=4), 1),
    ],
    ids=["alive", "lease expired", "no lease", "past the attempt's deadline"],
)
async def test_a_claim_is_left_to_its_worker_while_that_may_answer(
    flow: Flow, sweeper: Sweeper, leased: timedelta | None, lasts: timedelta, woken: int
) -> None:
    worker = uuid4()
    record_id = await decided(flow)
    await claimed(flow.host, record_id, worker=worker, lasts=lasts)
    if leased is not None:
        await lease(flow.host, worker, leased)
    await silent(flow, record_id)
    assert await sweeper.sweep() == woken
    assert len(await messages_in(flow.host, ROUTED_BACKGROUND, woken)) == woken


async def test_intervals_double_for_what_is_woken_up_to_a_limit(flow: Flow, sweeper: Sweeper) -> None:
    record_id = await taken_in(flow)
    base = round(flow.host.settings.sweep_after_s)
    for sweep in range(MAX_DOUBLINGS + 3):
        await commit(flow.host.settings, "router", CLASSIFIED)  # what was sent has been seen, and did not help
        await silent(flow, record_id)
        assert await swept(flow, sweeper, record_id) == (1, sweep + 1, base * 2 ** min(sweep, MAX_DOUBLINGS))
        assert await sweeper.sweep() == 0, "not before its time"


async def test_what_is_not_woken_keeps_its_interval(flow: Flow, sweeper: Sweeper) -> None:
    record_id = await decided(flow)
    await held(flow.host, record_id)
    for _ in range(3):
        await silent(flow, record_id)
        assert await swept(flow, sweeper, record_id) == (0, 0, round(flow.host.settings.sweep_after_s))


async def test_sweepers_at_the_same_time_wake_a_record_once(flow: Flow, host: OpenHost) -> None:
    messages = await take_in(flow.classifier, *(job(f"number {n}") for n in range(50)))
    records = [record_of(message) for message in going_to(flow.host, CLASSIFIED, messages)]
    await silent(flow, *records)
    progress = KafkaProgress(flow.host.settings)
    others = [Sweeper(await host("recorder"), lambda: now() + LATER, progress) for _ in range(3)]
    assert sum(await asyncio.gather(*(other.sweep() for other in others))) == len(records)
    found = await messages_in(flow.host, CLASSIFIED, len(records))
    assert sorted(key.decode() for key, _ in found) == sorted(map(str, records))
