"""The servers that tests run against: those that the environment names, else containers, else the embedded stack."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.runtime.host import Host
from services.standalone.logins import ADMINISTRATOR
from services.standalone.stack import Stack
from support import containers
from support.stack_folder import stack_folder

OpenHost = Callable[[str], Awaitable[Host]]
"""Opens what a service of that name stands on."""


@dataclass(frozen=True)
class Servers:
    """Where a real Postgres and a real Kafka answer. The database's user is a superuser."""

    database_url: str
    kafka_bootstrap_servers: str


@contextmanager
def serving() -> Iterator[Servers]:
    """Give servers, and end what was started for them."""
    database_url, kafka = os.environ.get("DATABASE_URL"), os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if database_url and kafka:
        yield Servers(database_url, kafka)
    elif containers.engine_answers():
        with containers.running() as (url, bootstrap):
            yield Servers(url, bootstrap)
    else:
        with _embedded() as servers:
            yield servers


@contextmanager
def _embedded() -> Iterator[Servers]:
    with stack_folder() as folder:
        stack = Stack(folder)
        status = stack.start(Stack.SERVERS_ONLY)
        assert status.kafka_bootstrap_servers is not None
        yield Servers(stack.database_url_of(ADMINISTRATOR), status.kafka_bootstrap_servers)
