"""Postgres and Kafka in containers of the official images, where a Docker engine answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import docker  # type: ignore[import-untyped]
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from services.standalone.ports import LOOPBACK, Ports

POSTGRES_IMAGE: Final = "postgres:18"
KAFKA_IMAGE: Final = "apache/kafka:4.2.0"
_CLIENTS, _CONTROLLER = 9092, 9093


def engine_answers() -> bool:
    """Say whether a Docker engine answers."""
    try:
        client = docker.from_env(timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except DockerException:
        return False


@contextmanager
def running() -> Iterator[tuple[str, str]]:
    """Run both servers and give database URL and bootstrap servers; they end with the block."""
    # A client is sent on to the advertised address, so the port has to be known before the broker starts.
    port = Ports({})["kafka"]
    kafka = (
        DockerContainer(KAFKA_IMAGE)
        .with_bind_ports(_CLIENTS, port)
        .with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS=f"PLAINTEXT://:{_CLIENTS},CONTROLLER://:{_CONTROLLER}",
            KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://{LOOPBACK}:{port}",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            KAFKA_CONTROLLER_QUORUM_VOTERS=f"1@localhost:{_CONTROLLER}",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
        )
        .waiting_for(LogMessageWaitStrategy("Kafka Server started"))
    )
    with PostgresContainer(POSTGRES_IMAGE, driver=None) as postgres, kafka:
        yield postgres.get_connection_url(), f"{LOOPBACK}:{port}"
