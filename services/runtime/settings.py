"""Every setting, read from the environment by one class; `waybill config` lists them with their sources."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnparsableError

from schemas.topics import DEFAULT_PREFIX
from services.runtime.errors import WaybillError


class SettingsError(WaybillError):
    """A setting is missing or has a wrong value."""

    hint = "`waybill config` lists every setting with its value and source."


class TopicOverride(BaseModel):
    """What an operator changes of a topic's defaults."""

    partitions: Annotated[int | None, Field(ge=1)] = None
    retention_ms: Annotated[int | None, Field(ge=1)] = None
    replication_factor: Annotated[int | None, Field(ge=1)] = None


class Settings(BaseSettings):
    """The environment of a service or command. Secrets are named by file or variable, and masked when listed."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    database_url: Annotated[str, Field(alias="DATABASE_URL", description="PostgreSQL ≥ 16, as a postgresql:// URL")]
    keyring_database_url: Annotated[
        str | None,
        Field(alias="KEYRING_DATABASE_URL", description="where record keys live; default: the same database"),
    ] = None
    kafka_bootstrap_servers: Annotated[
        str, Field(alias="KAFKA_BOOTSTRAP_SERVERS", description="Apache Kafka ≥ 3.7, host:port, comma separated")
    ]
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Field(alias="KAFKA_SECURITY_PROTOCOL")
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Field(alias="KAFKA_SASL_MECHANISM")
    ] = "SCRAM-SHA-512"
    kafka_sasl_username: Annotated[str | None, Field(alias="KAFKA_SASL_USERNAME")] = None
    kafka_sasl_password: Annotated[SecretStr | None, Field(alias="KAFKA_SASL_PASSWORD")] = None
    kafka_ssl_cafile: Annotated[Path | None, Field(alias="KAFKA_SSL_CAFILE")] = None
    kafka_ssl_certfile: Annotated[Path | None, Field(alias="KAFKA_SSL_CERTFILE")] = None
    kafka_ssl_keyfile: Annotated[Path | None, Field(alias="KAFKA_SSL_KEYFILE")] = None

    topic_prefix: Annotated[
        str,
        Field(alias="WAYBILL_TOPIC_PREFIX", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="of every topic and group"),
    ] = DEFAULT_PREFIX
    topics: Annotated[
        dict[str, TopicOverride],
        Field(
            alias="WAYBILL_TOPICS",
            description='JSON, by topic: {"requests": {"partitions": 24, "retention_ms": 86400000}}',
        ),
    ] = {}
    config_dir: Annotated[
        Path, Field(alias="WAYBILL_CONFIG_DIR", description="catalog, aliases, policies, tenants")
    ] = Path("config")
    secrets_dir: Annotated[
        Path | None, Field(alias="WAYBILL_SECRETS_DIR", description="a secret NAME is a file here")
    ] = None
    master_key_file: Annotated[
        Path | None,
        Field(
            alias="WAYBILL_MASTER_KEY_FILE",
            description="32 bytes in base64, which wrap every other key; of several lines the first wraps, all open",
        ),
    ] = None
    master_key: Annotated[
        SecretStr | None,
        Field(alias="WAYBILL_MASTER_KEY", description="the same, comma separated, instead of the file"),
    ] = None
    allow_unsigned: Annotated[
        bool,
        Field(
            alias="WAYBILL_ALLOW_UNSIGNED",
            description="on one machine only: a job on the shared topic is believed whose it is, without a signature",
        ),
    ] = False
    http_addr: Annotated[
        str, Field(alias="WAYBILL_HTTP_ADDR", description="host:port of /live, /ready and /metrics")
    ] = "127.0.0.1:8080"
    log_format: Annotated[Literal["json", "console"], Field(alias="WAYBILL_LOG_FORMAT")] = "json"
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(alias="WAYBILL_LOG_LEVEL")] = "INFO"

    max_in_flight: Annotated[
        int, Field(alias="WAYBILL_MAX_IN_FLIGHT", ge=1, le=100_000, description="calls in flight per executor process")
    ] = 1_000
    attempt_timeout_s: Annotated[
        float,
        Field(
            alias="WAYBILL_ATTEMPT_TIMEOUT_S", gt=0, description="seconds after which an unanswered call is in doubt"
        ),
    ] = 120.0
    in_doubt_cap_usd: Annotated[
        Decimal,
        Field(
            alias="WAYBILL_IN_DOUBT_CAP_USD",
            ge=0,
            description="a call in doubt is tried once more up to this worst case",
        ),
    ] = Decimal("1.00")
    lease_s: Annotated[
        float, Field(alias="WAYBILL_LEASE_S", ge=1, description="seconds an executor's lease lives without renewal")
    ] = 20.0
    sweep_after_s: Annotated[
        float,
        Field(
            alias="WAYBILL_SWEEP_AFTER_S", ge=1, description="seconds of silence before the sweeper looks at a record"
        ),
    ] = 60.0
    spool_dir: Annotated[
        Path,
        Field(
            alias="WAYBILL_SPOOL_DIR",
            description="where an executor keeps answers, encrypted, while Postgres is away",
        ),
    ] = Path("spool")
    notary_key_file: Annotated[
        Path | None,
        Field(
            alias="WAYBILL_NOTARY_KEY_FILE",
            description="Ed25519, PEM or 32 bytes in base64; signs checkpoints. Without it nothing is signed",
        ),
    ] = None
    notary_name: Annotated[
        str,
        Field(
            alias="WAYBILL_NOTARY_NAME",
            pattern=r"^[A-Za-z0-9._/-]{1,128}$",
            description="the origin that checkpoints carry: name your record as you would a URL",
        ),
    ] = "waybill/record"
    notary_every_s: Annotated[
        float,
        Field(
            alias="WAYBILL_NOTARY_EVERY_S", gt=0, le=60, description="seconds from one checkpoint to the next, at most"
        ),
    ] = 30.0
    checkpoint_dir: Annotated[
        Path,
        Field(
            alias="WAYBILL_CHECKPOINT_DIR",
            description="where checkpoints are published: outside the database, shared by all recorders",
        ),
    ] = Path("checkpoints")
    erasure_log: Annotated[
        Path,
        Field(
            alias="WAYBILL_ERASURE_LOG",
            description="file of all erasures, outside the database, one for all recorders",
        ),
    ] = Path("erasures.jsonl")
    retention_days: Annotated[
        int | None,
        Field(alias="WAYBILL_RETENTION_DAYS", ge=1, description="days after its end that a job's content is kept"),
    ] = None
    fault_dir: Annotated[
        Path | None,
        Field(alias="WAYBILL_FAULT_DIR", description="for fault tests only: the process dies at points armed here"),
    ] = None
    drain_timeout_s: Annotated[
        float,
        Field(
            alias="WAYBILL_DRAIN_TIMEOUT_S", ge=0, description="seconds a stopping executor waits for calls in flight"
        ),
    ] = 30.0

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Read the environment; raises :class:`SettingsError` naming each setting at fault, never its value."""
        try:
            return cls(**overrides)
        except UnparsableError as error:  # its text names the field, its cause holds the value
            raise SettingsError(f"settings: {error}") from None
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise SettingsError(f"settings: {faults}") from None

    def topic(self, name: str) -> str:
        """Return a topic's full name."""
        return self.topic_prefix + name

    def topics_like(self, name: str) -> str:
        """Return a pattern for the full names of a topic and of every tenant's own one beside it."""
        return rf"^{re.escape(self.topic(name))}(\.[a-z0-9][a-z0-9_-]*)?$"

    def bare(self, topic: str) -> str:
        """Return a topic's name without the prefix."""
        return topic.removeprefix(self.topic_prefix)

    def group(self, service: str) -> str:
        """Return the consumer group of a service."""
        return self.topic_prefix + service


@lru_cache(1)
def variables() -> dict[str, str]:
    """Return the environment variable of each field, by field name."""
    return {name: str(field.alias) for name, field in Settings.model_fields.items()}
