"""The notary's duty in a recorder: what is told when it works, when it refuses, and when there is none.

It has the recorder's rights; what others record, and a superuser meddles with, goes through a host with all rights.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs
from support import sql
from support.notaries import record
from support.servers import OpenHost

from services.proof.note import SigningKey
from services.recorder.attestation import Attestation, NotaryKeyError
from services.runtime.host import Host
from services.runtime.ids import now

_SQL = sql.load("notary")


async def recorder(host: OpenHost, path: Path) -> Host:
    """Return a recorder's host whose notary has a key and a folder below a path."""
    key = path / "notary.key"
    key.write_text(base64.b64encode(bytes(range(32))).decode())
    opened = await host("recorder")
    changed = {"notary_key_file": key, "checkpoint_dir": path / "checkpoints"}
    return replace(opened, settings=opened.settings.model_copy(update=changed))


def gauge(host: Host, name: str) -> float:
    """Return the present value of a state."""
    value = host.telemetry.registry.get_sample_value("waybill_recorder_state", {"name": name})
    assert value is not None
    return value


async def test_it_signs_and_says_so(host: OpenHost, tmp_path: Path) -> None:
    opened, everything = await recorder(host, tmp_path), await host("tests")
    await record(everything.pool, 2)
    duty = Attestation(opened, now)
    assert duty.begin()
    await duty.run_once()
    assert gauge(opened, "checkpoint_entries") == 14
    assert (gauge(opened, "notary_refuses"), gauge(opened, "unproven_s")) == (0, 0)
    assert opened.unready == {}


async def test_a_refusal_is_told_once_and_ends_readiness_when_entries_have_waited(
    host: OpenHost, tmp_path: Path
) -> None:
    opened, everything = await recorder(host, tmp_path), await host("tests")
    duty = Attestation(opened, now)
    await record(everything.pool, 1)
    await duty.run_once()
    published = tmp_path / "checkpoints"
    published.rename(tmp_path / "away")
    await record(everything.pool, 1)
    with capture_logs() as told:
        await duty.run_once()
        await duty.run_once()
    assert [line["event"] for line in told] == ["the notary does not sign"]
    assert "folder outside is empty" in told[0]["reason"]
    assert gauge(opened, "notary_refuses") == 1
    assert opened.unready == {}, "nothing has waited for long yet"
    await everything.pool.execute(_SQL["age"])
    await duty.run_once()
    assert gauge(opened, "unproven_s") >= 3600
    assert "folder outside is empty" in opened.unready["notary"]
    (tmp_path / "away").rename(published)
    with capture_logs() as told:
        await duty.run_once()
    assert [line["event"] for line in told] == ["the notary signs again"]
    assert opened.unready == {}
    assert (gauge(opened, "notary_refuses"), gauge(opened, "unproven_s")) == (0, 0)


async def test_an_open_transaction_ends_readiness(host: OpenHost, tmp_path: Path) -> None:
    opened, everything = await recorder(host, tmp_path), await host("tests")
    duty = Attestation(opened, now)
    async with everything.pool.acquire() as connection, connection.transaction():
        await connection.execute(_SQL["take_number"])
        await record(everything.pool, 1)
        await everything.pool.execute(_SQL["age"])
        await duty.run_once()
        assert "is a transaction open" in opened.unready["notary"]
    await duty.run_once()
    assert opened.unready == {}


async def test_another_key_is_a_refusal(host: OpenHost, tmp_path: Path) -> None:
    opened = await recorder(host, tmp_path)
    await Attestation(opened, now).run_once()
    other = SigningKey(opened.settings.notary_name, Ed25519PrivateKey.generate())
    (tmp_path / "notary.key").write_text(base64.b64encode(other._private.private_bytes_raw()).decode())
    with capture_logs() as told:
        await Attestation(opened, now).run_once()
    assert "is not signed by" in told[0]["reason"]


async def test_without_a_key_there_is_no_notary_and_one_warning(host: OpenHost) -> None:
    with capture_logs() as told:
        assert not Attestation(await host("recorder"), now).begin()
    assert [line["log_level"] for line in told] == ["warning"]


async def test_a_key_that_is_none_stops_the_start(host: OpenHost, tmp_path: Path) -> None:
    opened = await recorder(host, tmp_path)
    (tmp_path / "notary.key").write_text("not a key")
    with pytest.raises(NotaryKeyError):
        Attestation(opened, now)
