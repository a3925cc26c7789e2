"""Settings: what is wrong is told by the variable's name, never by its value."""

from __future__ import annotations

import os
from decimal import Decimal

import pytest
from runtime_settings import make_settings

from services.runtime.settings import Settings, SettingsError, TopicOverride, variables

SECRET = "hunter2-do-not-print"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two settings that have no default."""
    for name in set(variables().values()) & set(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", "postgresql://waybill@db/waybill")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")


def test_two_addresses_are_enough() -> None:
    settings = Settings.load()

    assert settings.database_url == "postgresql://waybill@db/waybill"
    assert settings.topic("requests") == "waybill.requests"
    assert settings.group("executor") == "waybill.executor"
    assert settings.keyring_database_url is None
    assert settings.in_doubt_cap_usd == Decimal("1.00")


@pytest.mark.parametrize("name", ["DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)

    with pytest.raises(SettingsError, match=name):
        Settings.load()


@pytest.mark.parametrize(
    "name",
    [
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SASL_MECHANISM",
        "WAYBILL_TOPICS",
        "WAYBILL_LOG_FORMAT",
        "WAYBILL_LOG_LEVEL",
        "WAYBILL_MAX_IN_FLIGHT",
        "WAYBILL_ATTEMPT_TIMEOUT_S",
        "WAYBILL_IN_DOUBT_CAP_USD",
        "WAYBILL_LEASE_S",
        "WAYBILL_SWEEP_AFTER_S",
        "WAYBILL_DRAIN_TIMEOUT_S",
    ],
)
def test_a_wrong_value_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    field = next(field for field, variable in variables().items() if variable == name)
    assert name in str(caught.value) or f'"{field}"' in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert "waybill config" in caught.value.hint


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("WAYBILL_LEASE_S", SECRET)
    monkeypatch.setenv("WAYBILL_TOPIC_PREFIX", "no spaces please")

    with pytest.raises(SettingsError) as caught:
        Settings.load()

    for name in ("DATABASE_URL", "WAYBILL_LEASE_S", "WAYBILL_TOPIC_PREFIX"):
        assert name in str(caught.value)
    assert "spaces" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("WAYBILL_MAX_IN_FLIGHT", "0"),
        ("WAYBILL_MAX_IN_FLIGHT", "100001"),
        ("WAYBILL_ATTEMPT_TIMEOUT_S", "0"),
        ("WAYBILL_IN_DOUBT_CAP_USD", "-0.01"),
        ("WAYBILL_DRAIN_TIMEOUT_S", "-1"),
        ("WAYBILL_LEASE_S", "0.5"),
        ("WAYBILL_TOPIC_PREFIX", ""),
        ("WAYBILL_TOPIC_PREFIX", "x" * 65),
    ],
)
def test_limits_hold(monkeypatch: pytest.MonkeyPatch, name: str, refused: str) -> None:
    monkeypatch.setenv(name, refused)

    with pytest.raises(SettingsError, match=name):
        Settings.load()


def test_topics_are_overridden_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_TOPICS", '{"requests": {"partitions": 24}}')
    assert Settings.load().topics == {"requests": TopicOverride(partitions=24)}

    monkeypatch.setenv("WAYBILL_TOPICS", '{"requests": {"partitions": 0}}')
    with pytest.raises(SettingsError, match=r"WAYBILL_TOPICS\.requests\.partitions"):
        Settings.load()


def test_a_password_is_masked() -> None:
    settings = make_settings(KAFKA_SASL_PASSWORD=SECRET)

    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


def test_every_field_has_a_variable_of_its_own() -> None:
    names = variables()

    assert set(names) == set(Settings.model_fields)
    assert len(set(names.values())) == len(names)
    assert all(name == name.upper() for name in names.values())
