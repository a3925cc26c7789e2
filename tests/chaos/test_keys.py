"""Many publishers send the same jobs at the same time, to different partitions: each key makes one record."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Final

from support.deployment import Running, deployed, until_caught_up
from support.stack_jobs import documents, keys, long_or, many, new_tenant
from support.stack_topics import publish

from schemas.result import Result
from schemas.topics import REQUESTS
from services.runtime import topics
from services.runtime.settings import Settings, TopicOverride

PUBLISHERS: Final = 10
PARTITIONS: Final = 8


async def test_ten_publishers_of_the_same_keys(
    settings: Settings, logins: dict[str, str], tmp_path: Path, chance: random.Random
) -> None:
    jobs = many(new_tenant("keys"), long_or(100, 1_000))
    wider = settings.topics | {REQUESTS.name: TopicOverride(partitions=PARTITIONS)}
    await topics.apply(settings.model_copy(update={"topics": wider}))
    orders = [chance.sample(jobs, len(jobs)) for _ in range(PUBLISHERS)]
    async with deployed(settings, logins, tmp_path) as waybill:
        classifiers = [*await waybill.start("classifier"), *await waybill.start("classifier")]

        async def both_have_partitions() -> bool:
            shares = [_partitions_of(classifier) for classifier in classifiers]
            return min(shares) > 0 and sum(shares) == PARTITIONS

        await waybill.until(both_have_partitions, "two classifiers share the partitions")
        await asyncio.gather(*(_publish(settings, number, order) for number, order in enumerate(orders)))
        await waybill.start("router", "executor", "recorder")
        history = await waybill.judge(jobs)
        await until_caught_up(waybill)

        assert sum(classifier.carried for classifier in classifiers) == PUBLISHERS * len(jobs)
        assert min(classifier.carried for classifier in classifiers) > 0
        assert len(history.chains) == len(history.charges) == len(jobs)
        answered = {Result.model_validate_json(value).idempotency_key for value in history.results}
        assert answered == set(keys(jobs)), "each publisher finds an answer to each of its jobs"


async def _publish(settings: Settings, number: int, jobs: list[dict[str, Any]]) -> None:
    """Publish jobs under Kafka keys of a publisher's own: the same job comes to other partitions by each of them."""
    messages = [m for job in jobs for m in documents(settings, f"{number}/{job['idempotency_key']}", [job])]
    await publish(lambda: settings, messages)


def _partitions_of(classifier: Running) -> int:
    (subscriber,) = classifier.host.broker.subscribers
    return len(subscriber.consumer.assignment())  # type: ignore[attr-defined]
