"""The state folder (``.waybill/``): where everything of one stack is, who holds it, what it last said.

    lock  state.json  ports.json  postgres/  kafka/  secrets/  spool/  checkpoints/  erasures/  simulator/  log/

The lock is the authority: it is held by the supervisor while it lives, and the kernel frees it when it dies.
"""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from services.standalone.errors import StackBusyError, disk_full_explained
from services.standalone.ports import Ports
from services.standalone.status import StackState, StackStatus

LOG_KEPT_BYTES = 10 * 1024 * 1024
LOG_MARK = "=== started "
LOCK_PATIENCE_SECONDS = 0.5
_PORTS = TypeAdapter(dict[str, int])


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step by a file that only its owner may read; raises :class:`DiskFullError`."""
    with disk_full_explained(f"writing {path.name}", path.parent):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@dataclass(frozen=True)
class StateFolder:
    """The paths of one stack, and what is kept in its small files."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """Name a folder, which need not exist yet; relative paths count from the working directory."""
        return cls(path.expanduser().absolute())

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data folder and the like."""
        return self.root / "postgres"

    @property
    def postgres_password(self) -> Path:
        """File of the password of PostgreSQL's administrator, from which those of all logins follow."""
        return self.root / "postgres.password"

    def read_postgres_password(self) -> str:
        """Return what that file holds."""
        return self.postgres_password.read_text().strip()

    @property
    def kafka(self) -> Path:
        """Kafka's log folder and configuration."""
        return self.root / "kafka"

    @property
    def secrets(self) -> Path:
        """The folder that ``WAYBILL_SECRETS_DIR`` names: a secret's name is its file's name."""
        return self.root / "secrets"

    @property
    def master_key(self) -> Path:
        """File of the key that wraps the vault's keys."""
        return self.secrets / "master.key"

    @property
    def notary_key(self) -> Path:
        """File of the key that signs checkpoints."""
        return self.secrets / "notary.key"

    @property
    def example_signing_key(self) -> Path:
        """File of the secret by which the tenant ``example-signed`` of the shipped ``tenants.yaml`` signs."""
        return self.secrets / "EXAMPLE_SIGNED_1"

    @property
    def checkpoints(self) -> Path:
        """The folder of published checkpoints."""
        return self.root / "checkpoints"

    @property
    def erasure_log(self) -> Path:
        """The file of everything that was erased."""
        return self.root / "erasures" / "erasures.jsonl"

    def log(self, name: str) -> Path:
        """Return the log file of the process ``name``."""
        return self.root / "log" / f"{name}.log"

    def create(self) -> None:
        """Make the folder and what every start needs in it; raises :class:`DiskFullError`."""
        with disk_full_explained("making the state folder", self.root):
            # Others may pass through the root folder: as root, PostgreSQL runs as another user below it.
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o711)
            for name in ("kafka", "secrets", "spool", "checkpoints", "erasures", "simulator", "log"):
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        for key in (self.master_key, self.notary_key, self.example_signing_key):
            if not key.exists():
                write_private(key, base64.b64encode(secrets.token_bytes(32)) + b"\n")

    def open_log(self, name: str) -> int:
        """Open the log of ``name`` for appending and return the descriptor; a long one is set aside first, one deep."""
        path = self.log(name)
        with disk_full_explained("opening a log", path.parent):
            if path.exists() and path.stat().st_size > LOG_KEPT_BYTES:
                path.replace(path.with_suffix(".log.1"))
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, f"{LOG_MARK}{datetime.now(UTC).isoformat(timespec='milliseconds')}\n".encode())
            except OSError:
                os.close(descriptor)
                raise
            return descriptor

    def log_tail(self, name: str, lines: int = 6) -> str:
        """Return the last lines that ``name`` wrote since it was last started."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        _, mark, since = text.rpartition(LOG_MARK)
        written = since.partition("\n")[2] if mark else since
        return "\n".join(written.rstrip().splitlines()[-lines:])

    def read_status(self) -> StackStatus:
        """Return what was last written; a file that is missing or unreadable says ``down``."""
        try:
            return StackStatus.model_validate_json((self.root / "state.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return StackStatus(state=StackState.DOWN, state_dir=str(self.root))

    def write_status(self, status: StackStatus) -> None:
        """Keep ``status`` for those who ask."""
        write_private(self.root / "state.json", status.model_dump_json(indent=2).encode())

    def read_ports(self) -> Ports:
        """Return the ports of the last start, or none yet."""
        try:
            return Ports(_PORTS.validate_json((self.root / "ports.json").read_bytes()))
        except (FileNotFoundError, ValidationError):
            return Ports({})

    def write_ports(self, ports: Ports) -> None:
        """Keep the ports for the next start."""
        write_private(self.root / "ports.json", _PORTS.dump_json(ports.chosen, indent=2))


class StateLock:
    """The right to run a stack in a folder: an ``flock`` that a child inherits and the kernel frees."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, folder: StateFolder) -> Self:
        """Take the lock of an existing folder; raises :class:`StackBusyError` if somebody holds it."""
        descriptor = os.open(folder.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        # Whoever only looks (:meth:`held`) has it for a moment.
        while not cls._flock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StackBusyError
            time.sleep(0.01)
        return cls(descriptor)

    @classmethod
    def held(cls, folder: StateFolder) -> bool:
        """Whether somebody holds the lock of ``folder`` now."""
        try:
            descriptor = os.open(folder.root / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            return not cls._flock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    @staticmethod
    def _flock(descriptor: int, kind: int) -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of it; a child that inherited the descriptor keeps the lock."""
        os.close(self.descriptor)
