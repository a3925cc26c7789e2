"""Who logs in to the embedded database: one login for people, and one for each service with its rights alone.

The administrator, ``postgres``, makes them when the database is new, and does nothing else. Each login's password
follows from the administrator's, so that there is one file to keep; from a login's password nothing else follows.
"""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import quote

from services.runtime import migrate, queries
from services.runtime.postgres import Connection
from services.standalone.plan import SERVICES
from services.standalone.ports import LOOPBACK

ADMINISTRATOR: Final = "postgres"
PEOPLE: Final = "waybill"
"""May migrate, be on call, and read facts; and may make logins for others who are on call or read facts."""
GROUPS: Final = {
    PEOPLE: ("waybill_owner", "waybill_oncall", "analyst"),
    **{service: (f"waybill_{service}",) for service in SERVICES},
}
"""Each login, and the groups that it is a member of."""
DATABASE: Final = "waybill"
MAINTENANCE: Final = "postgres"
"""The database that every server has: the only one to connect to while ours is not there."""
_SQL: Final = queries.load("standalone")


def password_of(login: str, secret: str) -> str:
    """Return a login's password; ``secret`` is the administrator's."""
    return secret if login == ADMINISTRATOR else hmac.digest(secret.encode(), login.encode(), "sha256").hex()


def url_of(login: str, secret: str, port: int, database: str = DATABASE) -> str:
    """Return a login's ``postgresql://`` address of a database; ``secret`` is the administrator's password."""
    return f"postgresql://{login}:{quote(password_of(login, secret), safe='')}@{LOOPBACK}:{port}/{database}"


async def create(connection: Connection, secret: str) -> None:
    """Make roles and logins in the administrator's connection to the new database; all of it, or nothing."""
    async with connection.transaction():
        if await connection.fetchval(_SQL["has_login"], PEOPLE):
            return
        await connection.execute(migrate.script("roles"))
        for login, groups in GROUPS.items():
            statement = await connection.fetchval(_SQL["create_login"], login, password_of(login, secret), groups)
            await connection.execute(statement)
        await connection.execute(_SQL["let_people_in"])
