"""Fixtures for all tests: one pair of servers a session; a database and a set of topics of their own for each test."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from support.databases import bring_up_to_date, new_database
from support.logins import as_login, group_logins
from support.offsets import until_groups_answer
from support.servers import OpenHost, Servers, serving

from schemas.topics import TOPICS
from services.policy import Policy
from services.runtime import topics
from services.runtime.host import Host, open_host
from services.runtime.settings import Settings, TopicOverride

pytest_plugins = ("support.parallel",)
CONFIG = Path(__file__).parents[1] / "config"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A real Postgres and a real Kafka."""
    with serving() as found:
        yield found


@pytest_asyncio.fixture(scope="session")
async def migrated(servers: Servers) -> AsyncIterator[str]:
    """The URL of a migrated database that is only ever copied."""
    async with new_database(servers.database_url) as url:
        await bring_up_to_date(url)
        yield url


@pytest_asyncio.fixture(scope="session")
async def logins(servers: Servers, migrated: str) -> AsyncIterator[dict[str, str]]:
    """A login for each group of roles, by the name of its service, or ``oncall``, ``analyst`` and ``owner``."""
    async with group_logins(servers.database_url) as logins:
        yield logins


@pytest_asyncio.fixture
async def database(servers: Servers, migrated: str) -> AsyncIterator[str]:
    """The URL of a migrated database of the test's own."""
    async with new_database(servers.database_url, migrated) as url:
        yield url


@pytest_asyncio.fixture
async def empty_database(servers: Servers) -> AsyncIterator[str]:
    """The URL of a database in which nothing is."""
    async with new_database(servers.database_url) as url:
        yield url


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A superuser's connection to the test's database: tests look everywhere, and meddle."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="session")
async def kafka(servers: Servers) -> str:
    """The bootstrap servers of a Kafka that also answers for consumer groups."""
    await until_groups_answer(servers.kafka_bootstrap_servers)
    return servers.kafka_bootstrap_servers


@pytest.fixture(scope="session")
def master_key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that holds a master key."""
    file = tmp_path_factory.mktemp("secrets") / "master-key"
    file.write_text(base64.b64encode(bytes(range(32))).decode())
    return file


@pytest_asyncio.fixture
async def settings(kafka: str, database: str, master_key_file: Path, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings with the test's database and topics; each topic exists and has two partitions."""
    settings = Settings(
        DATABASE_URL=database,
        KAFKA_BOOTSTRAP_SERVERS=kafka,
        WAYBILL_TOPIC_PREFIX=f"test-{uuid4().hex[:12]}.",
        WAYBILL_TOPICS={topic.name: TopicOverride(partitions=2) for topic in TOPICS},
        WAYBILL_CONFIG_DIR=CONFIG,
        WAYBILL_ALLOW_UNSIGNED=True,
        WAYBILL_MASTER_KEY_FILE=master_key_file,
        WAYBILL_SPOOL_DIR=tmp_path / "spool",
        WAYBILL_ERASURE_LOG=tmp_path / "erasures" / "erasures.jsonl",
    )
    await topics.apply(settings)
    yield settings
    admin = await topics.open_admin(settings)
    # Also those that the test made for tenants.
    await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(settings.topic_prefix)])
    await admin.close()


@pytest_asyncio.fixture
async def host(settings: Settings, logins: dict[str, str]) -> AsyncIterator[OpenHost]:
    """Opens what a service stands on, as a login with its rights alone: ``await host("classifier")``.

    A name that is no service's, such as ``tests``, has all rights. All are closed after the test.
    """
    async with AsyncExitStack() as stack:

        async def opened(service: str) -> Host:
            login = logins.get(service)
            url = as_login(settings.database_url, login) if login else settings.database_url
            keyring = settings.keyring_database_url
            if keyring is not None and login is not None:
                keyring = as_login(keyring, login)
            own = settings.model_copy(update={"database_url": url, "keyring_database_url": keyring})
            return await stack.enter_async_context(open_host(service, own))

        yield opened


@pytest.fixture(scope="session")
def policy() -> Policy:
    """The policy that Waybill comes with. Its simulator's address is made up: deciding calls nobody."""
    return Policy.load(CONFIG, {"WAYBILL_SIMULATOR_URL": "http://127.0.0.1:9"})
