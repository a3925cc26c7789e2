"""Reading from the vault what results need, and checking it against the record's digests before it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from schemas.codes import EntryKind
from services.recorder.facts import Parsed
from services.recorder.result import Contents
from services.runtime import erasure, vault
from services.runtime.keyring import ContentDamagedError, Keyring, RecordKey
from services.runtime.telemetry import Telemetry
from services.runtime.vault import Content


class ContentReader:
    """Reads job and output of sealed chains. What is erased is absent; what is damaged is absent too, and an alarm."""

    def __init__(self, pool: asyncpg.Pool[Any], keyring: Keyring, telemetry: Telemetry) -> None:
        """Use a pool and the keyring."""
        self._pool = pool
        self._keyring = keyring
        self._telemetry = telemetry

    async def read(self, chains: Mapping[UUID, Sequence[Parsed]]) -> dict[UUID, Contents]:
        """Return the contents of some chains."""
        wanted: list[tuple[UUID, UUID, str]] = []
        for record_id, chain in chains.items():
            wanted.append((record_id, chain[0].entry.entry_id, vault.JOB))
            output = _output(chain)
            if output is not None:
                wanted.append((record_id, UUID(output["output_entry"]), vault.OUTPUT))
        stored = await vault.load(self._pool, wanted)
        keys = await self._keyring.load(list(chains))
        erased = await erasure.erased(self._pool, list(chains))
        return {
            record_id: Contents(erased=True)
            if record_id in erased
            else self._opened(chain, keys.get(record_id), stored, record_id)
            for record_id, chain in chains.items()
        }

    def _opened(
        self,
        chain: Sequence[Parsed],
        key: RecordKey | None,
        stored: Mapping[tuple[UUID, str], Content],
        record_id: UUID,
    ) -> Contents:
        if key is None:
            return Contents()
        output = _output(chain)
        return Contents(
            job=self._checked(key, stored.get((record_id, vault.JOB)), chain[0].data["digests"]["job"]),
            output=self._checked(key, stored.get((record_id, vault.OUTPUT)), output["output_digest"])
            if output
            else None,
        )

    def _checked(self, key: RecordKey, content: Content | None, digest: str) -> bytes | None:
        if content is None:
            return None
        try:
            plain = key.decrypt(content.entry_id, content.kind, content.ciphertext)
        except ContentDamagedError:
            plain = None
        if plain is None or key.digest(plain) != digest:
            self._telemetry.events.labels("content_damaged").inc()
            self._telemetry.log.error("content does not match its digest", record_id=str(content.record_id))
            return None
        return plain


def _output(chain: Sequence[Parsed]) -> Mapping[str, Any] | None:
    """Return the last answered attempt before the seal that has an output."""
    for step in reversed(chain):
        if step.entry.kind == EntryKind.ATTEMPT_FINISHED:
            return step.data if step.data["output_entry"] else None
    return None
