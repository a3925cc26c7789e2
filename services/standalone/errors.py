"""What can go wrong with a stack, each with a way out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.runtime.errors import WaybillError


class StackError(WaybillError):
    """The standalone stack cannot do this."""


class StackStartError(StackError):
    """The stack did not come up."""

    hint = "The logs are in the folder log/ of the state folder; what had started has been stopped again."


class StackBusyError(StackError):
    """Another `waybill up` or `waybill down` is at work in this state folder."""

    hint = "See `waybill status`, and try again when it is done; or choose another folder with --state-dir."


class StackNotRunningError(StackError):
    """The stack is not running."""

    hint = "Start it with `waybill up`."


class StackStopError(StackError):
    """The stack did not stop."""

    hint = "Run `waybill down` again; if that fails too, end the process ids that `waybill status` names."


class StackWaitError(StackError):
    """The stack did not get into the state that was waited for."""


class DiskFullError(StackError):
    """The disk is full."""

    hint = "Free some space, or move: --state-dir for the data, WAYBILL_CACHE_DIR for the jars. Then run it again."


class JarFetchError(StackError):
    """Apache Kafka's jars could not be fetched."""

    hint = (
        "Check the network (HTTPS_PROXY and SSL_CERT_FILE are honoured), or set WAYBILL_MAVEN_REPOSITORY to a mirror, "
        "or KAFKA_BOOTSTRAP_SERVERS to a broker that runs already. What was fetched is kept for the next start."
    )


class DamagedJarError(JarFetchError):
    """A jar does not have the content that the lock file promises."""

    hint = (
        "It was fetched twice and thrown away: the mirror in WAYBILL_MAVEN_REPOSITORY or a proxy changes files. "
        "Use another one and run it again."
    )


class PostgresVersionError(StackError):
    """The data folder belongs to another major version of PostgreSQL."""


class PostgresUserError(StackError):
    """PostgreSQL refuses to run as root, and no ordinary system user could be made for it."""

    hint = "Run as an ordinary user, or add a user named embedded_postgres, or set DATABASE_URL to a server that runs."


class ForeignServerError(StackError):
    """A PostgreSQL server that this stack did not start uses the data folder."""

    hint = "Stop that server, or choose another folder with --state-dir."


class ProcessEndedError(StackStartError):
    """A process of the stack ended before it was ready."""


class ProcessNotReadyError(StackStartError):
    """A process of the stack was not ready in time."""


def error_named(name: str) -> type[StackError]:
    """Return the class of an error that another process raised; :class:`StackStartError` for one that is not ours."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, StackError) else StackStartError


NO_SPACE = "No space left on device"


@contextmanager
def disk_full_explained(doing: str, where: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT inside the block into a :class:`DiskFullError` saying what was being done, and where."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"The disk is full: {doing} in {where} failed.") from error
        raise
