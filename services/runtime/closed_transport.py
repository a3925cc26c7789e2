"""A mend for aiokafka under uvloop: a write to a transport that is closed is a lost connection, and nothing worse.

asyncio drops such a write, uvloop raises ``RuntimeError``, which aiokafka does not expect (its issue 1038): the task
that keeps its metadata up to date ends, and whoever waits for metadata, the consumer's place in its group with it,
waits for ever. Met when a broker was killed again and again. To be taken out when a release of aiokafka has it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError


def _telling_lost_connections(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def guarded(connection: AIOKafkaConnection, *arguments: Any, **options: Any) -> Any:
        try:
            return send(connection, *arguments, **options)
        except KafkaError:  # which is a RuntimeError too
            raise
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} is closed") from error

    return guarded


def mend() -> None:
    """Have every connection of aiokafka in this process tell a closed transport as a lost connection."""
    for name in ("send", "_send_sasl_token"):
        send = getattr(AIOKafkaConnection, name)
        if not hasattr(send, "__wrapped__"):
            setattr(AIOKafkaConnection, name, _telling_lost_connections(send))
