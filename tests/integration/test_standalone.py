"""The embedded stack with its real PostgreSQL and Kafka: data survives, nothing outlives its supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support import sql
from support.logins import as_login, connected, new_login
from support.stack_folder import stack_folder

from services.runtime.migrate import migrate, migrate_keyring, migrations, require_current
from services.standalone.errors import DiskFullError, PostgresVersionError, StackBusyError, StackStartError
from services.standalone.logins import ADMINISTRATOR, DATABASE, GROUPS, PEOPLE
from services.standalone.ports import LOOPBACK, Ports
from services.standalone.stack import Part, Stack, StackState, StackStatus
from services.standalone.status import ProcessRef

BOUND_SECONDS = 120
WAYBILL = (sys.executable, "-m", "services.cli.main")
NOTE_TABLE = (Path(__file__).parent / "sql" / "standalone_note.sql").read_text()
_SQL = sql.load("standalone")
_LOGINS, _ROLES, _STACK, _APPEND_ONLY = (sql.load(name) for name in ("databases", "roles", "stack", "append_only"))
POSTGRES_ONLY = frozenset({Part.POSTGRES})
LARGE = 23 * 1024 * 1024


@pytest.fixture
def state_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of its own; whatever a test leaves running in it is ended."""
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "WAYBILL_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    # The supervisor finds the plans of this folder.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    with stack_folder() as folder:
        yield folder


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both servers are somebody else's, so that only the plan's processes start."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere.invalid/waybill")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "elsewhere.invalid:9092")


def refs(status: StackStatus) -> list[ProcessRef]:
    assert status.supervisor is not None
    children = [process.ref for process in status.processes if process.ref is not None]
    # PostgreSQL's own children are part of what has to end.
    return [
        status.supervisor,
        *(
            ref
            for child in children
            if (process := child.find()) is not None
            for ref in (child, *(ProcessRef.of(sub.pid) for sub in process.children(recursive=True)))
            if ref is not None
        ),
    ]


def still_running(processes: list[ProcessRef]) -> list[ProcessRef]:
    """Wait until they have ended; return those that have not."""
    return [ref for ref in processes if not ref.ends_within(BOUND_SECONDS)]


async def note(url: str, text: str | None = None) -> list[str]:
    """Keep ``text`` in the database, if given; return all that is kept."""
    connection = await asyncpg.connect(url)
    try:
        if text is not None:
            await connection.execute(NOTE_TABLE)
            await connection.copy_records_to_table("note", records=[(text,)])
        content = bytearray()

        async def collect(data: bytes) -> None:
            content.extend(data)

        await connection.copy_from_table("note", output=collect)
        return content.decode().splitlines()
    finally:
        await connection.close()


async def publish(servers: str, value: bytes) -> None:
    """Make a topic for large messages and publish one, acknowledged."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    configs = {"max.message.bytes": str(24 * 1024 * 1024), "compression.type": "uncompressed"}
    await admin.create_topics([NewTopic("large", 1, 1, topic_configs=configs)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_request_size=2 * LARGE) as producer:
        await producer.send_and_wait("large", value)


async def read(servers: str) -> bytes:
    """Return the first message of the topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", max_partition_fetch_bytes=2 * LARGE
    )
    async with consumer:
        consumer.assign([TopicPartition("large", 0)])
        message = await consumer.getone()
        return bytes(message.value or b"")


async def test_data_survives_a_restart_and_a_killed_supervisor(state_dir: Path) -> None:
    stack = Stack(state_dir)
    first = stack.start(Stack.SERVERS_ONLY)
    assert first.state is StackState.READY
    assert first.database_url is not None
    assert first.kafka_bootstrap_servers is not None
    value = os.urandom(1024) * (LARGE // 1024)
    await note(first.database_url, "before")
    await publish(first.kafka_bootstrap_servers, value)

    running = refs(first)
    assert len(running) > 3
    stack.stop()
    assert still_running(running) == []
    assert stack.status().state is StackState.DOWN

    second = stack.start(Stack.SERVERS_ONLY)
    assert (second.database_url, second.kafka_bootstrap_servers) == (
        first.database_url,
        first.kafka_bootstrap_servers,
    ), "the ports were free, so they are the same"
    assert await note(first.database_url) == ["before"]
    assert await read(first.kafka_bootstrap_servers) == value

    running = refs(second)
    os.kill(running[0].pid, signal.SIGKILL)
    assert still_running(running) == []
    assert stack.status().state is StackState.DOWN

    stack.start(Stack.SERVERS_ONLY)
    assert await note(first.database_url) == ["before"]
    assert await read(first.kafka_bootstrap_servers) == value


async def test_each_login_has_the_rights_of_its_groups_alone(state_dir: Path) -> None:
    stack = Stack(state_dir)
    status = stack.start(POSTGRES_ONLY)
    urls = {login: stack.database_url_of(login) for login in (ADMINISTRATOR, *GROUPS)}
    assert status.database_url == urls[PEOPLE]
    assert len({url.partition("@")[0].rpartition(":")[2] for url in urls.values()}) == len(urls), "a password each"
    for login, groups in GROUPS.items():
        async with connected(urls[login]) as connection:
            memberships = {row["role"] for row in await connection.fetch(_SQL["memberships"])}
            assert memberships == set(groups)
            assert not await connection.fetchval(_APPEND_ONLY["is_superuser"])
    async with connected(urls[PEOPLE]) as people:
        await migrate(people)
        await people.execute(_STACK["create_login"].format(name="ana", password="ana"))
    async with connected(stack.database_url_of("recorder")) as recorder:
        await require_current(recorder)


async def test_a_login_that_owns_its_database_and_may_make_roles_needs_no_superuser(state_dir: Path) -> None:
    stack = Stack(state_dir)
    stack.start(POSTGRES_ONLY)
    url = stack.database_url_of(ADMINISTRATOR)
    async with connected(url) as administrator:
        for role in GROUPS:
            await administrator.execute(_LOGINS["drop_login"].format(name=role))
        await administrator.execute(_LOGINS["give_database"].format(database=DATABASE, name=ADMINISTRATOR))
        for role in sorted({group for groups in GROUPS.values() for group in groups}):
            await administrator.execute(_LOGINS["drop_owned"].format(name=role))
            await administrator.execute(_LOGINS["drop_login"].format(name=role))
    async with new_login(url, "CREATEROLE") as login:
        async with connected(url) as administrator:
            await administrator.execute(_LOGINS["give_database"].format(database=DATABASE, name=login))
        async with connected(as_login(url, login)) as own:
            assert await migrate(own) == migrations()
            await migrate_keyring(own)
        async with connected(url) as administrator:
            assert await administrator.fetch(_ROLES["foreign_owners"]) == []


async def test_a_database_made_before_there_were_roles_is_an_error_that_says_so(state_dir: Path) -> None:
    stack = Stack(state_dir)
    stack.start(POSTGRES_ONLY)
    async with connected(stack.database_url_of(ADMINISTRATOR)) as administrator:
        # As then: the password is that of another login.
        await administrator.execute(_SQL["change_password"])
    stack.stop()
    with pytest.raises(StackStartError, match="not that of the database's administrator") as raised:
        stack.start(POSTGRES_ONLY)
    assert "before it had roles" in raised.value.hint


async def test_a_server_that_dies_is_started_again_with_its_data(state_dir: Path) -> None:
    stack = Stack(state_dir)
    status = stack.start(POSTGRES_ONLY)
    assert status.database_url is not None
    await note(status.database_url, "before")
    pid = status.processes[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    again = stack.wait_until(lambda now: now.state is StackState.READY and now.processes[0].restarts > 0, BOUND_SECONDS)
    assert again.processes[0].pid != pid
    assert await note(status.database_url) == ["before"]


def test_two_ups_at_once_make_one_stack(state_dir: Path) -> None:
    command = [*WAYBILL, "up", "--no-services", "--json", "--state-dir", str(state_dir)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    results = [(process.communicate(timeout=BOUND_SECONDS), process.returncode) for process in both]
    assert 0 in [code for _, code in results]
    for (_, err), code in results:
        assert code == 0 or "is starting already" in err
    up = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_SECONDS, check=True)
    status = StackStatus.model_validate_json(up.stdout)
    assert {process.name for process in status.processes} == {"postgres", "kafka"}
    for (out, _), code in results:
        if code == 0:
            assert StackStatus.model_validate_json(out).supervisor == status.supervisor
    with pytest.raises(StackBusyError, match="up, without services"):
        Stack(state_dir).start()


def test_the_commands_say_how_it_is_and_stop_it(state_dir: Path, elsewhere: None) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*WAYBILL, *arguments, "--state-dir", str(state_dir)],
            capture_output=True,
            text=True,
            timeout=BOUND_SECONDS,
            check=False,
        )

    assert run("status").returncode == 1
    assert "Nothing was running" in run("down").stdout
    assert run("up", "--no-services").returncode == 0
    status = run("status", "--json")
    assert status.returncode == 0
    answer = json.loads(status.stdout)
    assert answer["state"] == "ready"
    assert answer["database_url"] == "postgresql://elsewhere.invalid/waybill"
    assert answer["kafka_bootstrap_servers"] == "elsewhere.invalid:9092"
    assert answer["processes"] == []
    assert run("down").returncode == 0
    assert json.loads(run("status", "--json").stdout)["state"] == "down"


def test_in_the_foreground_an_interrupt_stops_everything(state_dir: Path) -> None:
    stack = Stack(state_dir, plan="standalone_plans:working")
    script = f"""
import pathlib
from services.standalone.stack import Part, Stack
Stack(pathlib.Path({str(state_dir)!r})).run({{Part.POSTGRES}}, ready=lambda status: print("ready", flush=True))
"""
    attached = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert attached.stdout is not None
    assert attached.stdout.readline() == "ready\n"
    running = refs(stack.status())
    assert running[0].pid == attached.pid
    attached.send_signal(signal.SIGINT)
    assert attached.wait(BOUND_SECONDS) == 0
    attached.stdout.close()
    assert still_running(running) == []


def test_a_stale_state_folder_is_taken_over_and_strangers_are_left_alone(state_dir: Path) -> None:
    stack = Stack(state_dir)
    status = stack.start(POSTGRES_ONLY)
    stack.stop()
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        # As after a power cut, with process ids that others got since.
        now = ProcessRef.of(stranger.pid)
        assert now is not None
        reused = ProcessRef(pid=stranger.pid, started=now.started - 3600)
        process = status.processes[0].model_copy(update={"ref": reused, "pid": stranger.pid})
        stack.folder.write_status(status.model_copy(update={"supervisor": reused, "processes": [process]}))
        (state_dir / "postgres" / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        assert stack.status().state is StackState.DOWN
        assert stack.start(POSTGRES_ONLY).state is StackState.READY
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_port_that_somebody_took_is_replaced(state_dir: Path) -> None:
    stack = Stack(state_dir)
    stack.folder.create()
    with socket.create_server((LOOPBACK, 0)) as other:
        taken: int = other.getsockname()[1]
        stack.folder.write_ports(Ports({"postgres": taken}))
        status = stack.start(POSTGRES_ONLY)
        assert status.database_url is not None
        assert f":{taken}/" not in status.database_url
        connection = await asyncpg.connect(status.database_url)
        await connection.close()


def test_a_data_folder_of_another_major_version_is_an_error_that_says_so(state_dir: Path) -> None:
    stack = Stack(state_dir)
    stack.start(POSTGRES_ONLY)
    stack.stop()
    (state_dir / "postgres" / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresVersionError, match="made by PostgreSQL 15") as raised:
        stack.start(POSTGRES_ONLY)
    assert "--state-dir" in raised.value.hint
    assert stack.status().state is StackState.DOWN


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a small disk")
def test_a_full_disk_is_an_error_that_says_so(state_dir: Path) -> None:
    state_dir.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(state_dir)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(DiskFullError, match="MB are free"):
            Stack(state_dir).start(POSTGRES_ONLY)
        with contextlib.suppress(OSError), (state_dir / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(65536))
        with pytest.raises(DiskFullError, match="disk is full"):
            Stack(state_dir).start(POSTGRES_ONLY)
    finally:
        subprocess.run(["umount", str(state_dir)], check=True)


def test_services_start_in_order_are_restarted_and_end_with_the_stack(state_dir: Path, elsewhere: None) -> None:
    stack = Stack(state_dir, plan="standalone_plans:working")
    doing: list[str] = []
    status = stack.start(doing=doing.append)
    assert doing == ["running first", "running second", "starting simulator", "starting router, recorder"]
    assert [process.name for process in status.processes] == ["simulator", "router", "recorder"]
    assert httpx.get(f"{status.simulator_url}/ready").text == "hello"

    pid = status.processes[1].pid
    assert pid is not None
    (state_dir / "served" / "ready").rename(state_dir / "served" / "not-yet")
    os.kill(pid, signal.SIGKILL)
    degraded = stack.wait_until(lambda now: now.processes[1].restarts == 1, BOUND_SECONDS)
    assert degraded.state is StackState.DEGRADED
    assert degraded.running
    (state_dir / "served" / "not-yet").rename(state_dir / "served" / "ready")
    again = stack.wait_until(lambda now: now.state is StackState.READY, BOUND_SECONDS)
    assert again.processes[1].http_addr == status.processes[1].http_addr
    assert [process.restarts for process in again.processes] == [0, 1, 0]

    running = refs(again)
    assert len(running) == 4
    os.kill(running[0].pid, signal.SIGKILL)
    assert still_running(running) == []


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("failing_service", r"router ended before it was ready \(exit status 1\)(?s:.)*no policy bundle"),
        ("failing_preparation", r"migrate failed \(exit status 1\)(?s:.)*permission denied"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(
    state_dir: Path, elsewhere: None, plan: str, message: str
) -> None:
    stack = Stack(state_dir, plan=f"standalone_plans:{plan}")
    with pytest.raises(StackStartError, match=message):
        stack.start()
    assert stack.status().state is StackState.DOWN
    leftovers = [process for process in psutil.process_iter() if str(state_dir) in " ".join(_command_line(process))]
    assert leftovers == []


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
