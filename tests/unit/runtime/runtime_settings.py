"""Settings for tests that connect to nothing."""

from __future__ import annotations

from typing import Any

from services.runtime.settings import Settings


def make_settings(**values: Any) -> Settings:
    """Return settings whose servers do not exist."""
    addresses = {"DATABASE_URL": "postgresql://nowhere", "KAFKA_BOOTSTRAP_SERVERS": "nowhere:9092"}
    return Settings(**{**addresses, **values})
