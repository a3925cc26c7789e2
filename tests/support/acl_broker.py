"""A Kafka of its own with logins and ACLs: an embedded broker whose clients name themselves, and are let in or not.

Whoever has no ACL for something is refused it. The login :data:`ADMIN` alone may do everything.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.standalone.jars import ensure_jars
from services.standalone.kafka import CONTROLLER, NAME, PROBE_MILLISECONDS, EmbeddedKafka
from services.standalone.ports import LOOPBACK, Ports
from services.standalone.process import Supervised
from services.standalone.state import StateFolder

ADMIN: Final = "admin"
_LISTENER: Final = "SASL_PLAINTEXT"


@dataclass(frozen=True)
class AclBroker:
    """Where it answers, and the password of each login."""

    bootstrap_servers: str
    passwords: Mapping[str, str]

    def settings(self, user: str) -> dict[str, str]:
        """Return the fields of ``Settings`` by which a login connects."""
        return {
            "kafka_bootstrap_servers": self.bootstrap_servers,
            "kafka_security_protocol": _LISTENER,
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": user,
            "kafka_sasl_password": self.passwords[user],
        }

    def client(self, user: str) -> dict[str, Any]:
        """Return the arguments by which a login's aiokafka client connects."""
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": _LISTENER,
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": user,
            "sasl_plain_password": self.passwords[user],
        }


@asynccontextmanager
async def acl_broker(users: Iterable[str]) -> AsyncIterator[AclBroker]:
    """Give a broker that knows these logins; it is ended, and its folder removed, when the block ends."""
    root = Path(tempfile.mkdtemp(prefix="waybill-acl-"))
    folder, ports = StateFolder.at(root / "state"), Ports({})
    folder.create()
    broker = AclBroker(f"{LOOPBACK}:{ports[NAME]}", {user: secrets.token_hex(16) for user in (ADMIN, *users)})
    kafka = _AclKafka(folder, ports, ensure_jars(), broker)
    try:
        await kafka.prepare()
        process = Supervised(kafka.spec(), folder)
        await process.start()
        try:
            yield broker
        finally:
            await process.stop()
    finally:
        shutil.rmtree(root)


class _AclKafka(EmbeddedKafka):
    """The embedded broker, but for its clients' listener and its authorizer."""

    def __init__(self, folder: StateFolder, ports: Ports, jars: Path, broker: AclBroker) -> None:
        super().__init__(folder, ports, jars)
        self._broker = broker

    def _write_properties(self, name: str, data: Path) -> Path:
        path = super()._write_properties(name, data)
        address, controller = self._broker.bootstrap_servers, f"{LOOPBACK}:{self._ports[CONTROLLER]}"
        logins = " ".join(f'user_{user}="{password}"' for user, password in self._broker.passwords.items())
        own = f'username="{ADMIN}" password="{self._broker.passwords[ADMIN]}"'
        module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        # Of a key that stands twice in a properties file, the last counts.
        lines = (
            f"listeners={_LISTENER}://{address},CONTROLLER://{controller}",
            f"advertised.listeners={_LISTENER}://{address}",
            f"listener.security.protocol.map=CONTROLLER:PLAINTEXT,{_LISTENER}:{_LISTENER}",
            f"inter.broker.listener.name={_LISTENER}",
            "sasl.enabled.mechanisms=PLAIN",
            "sasl.mechanism.inter.broker.protocol=PLAIN",
            f"listener.name.{_LISTENER.lower()}.plain.sasl.jaas.config={module} {own} {logins};",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The broker talks to its controller, which is itself, without a login; clients have no way there.
            f"super.users=User:{ADMIN};User:ANONYMOUS",
        )
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + "\n".join(lines) + "\n")
        return path

    async def _ready(self) -> bool:
        client = AIOKafkaAdminClient(request_timeout_ms=PROBE_MILLISECONDS, **self._broker.client(ADMIN))
        try:
            await client.start()
            await client.list_topics()
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
        return True
