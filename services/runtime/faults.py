"""Whose fault an error is: the surroundings', which is waited out, or one item's, which is isolated."""

from __future__ import annotations

from typing import Final

import asyncpg
from aiokafka.errors import KafkaError

from services.runtime.errors import WaybillError
from services.runtime.postgres import blames_a_row

_SURROUNDINGS: Final = (
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(KafkaError, OSError, WaybillError),
)


def blames_an_item(error: BaseException) -> bool:
    """Say whether the item in work is to blame: the database refuses its data, or our own code fails on it.

    Such an error comes again with every redelivery, so waiting would stop the partition; everything that the database,
    the broker, the machine or the deployment causes is no item's fault.
    """
    return blames_a_row(error) or (isinstance(error, Exception) and not isinstance(error, _SURROUNDINGS))
