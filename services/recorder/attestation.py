"""The notary's duty in a recorder: when it works, and what is told when it cannot.

States: off (no key), signing, refusing. Every recorder tries; one at a time gets anything to do. A refusal is logged
when its reason changes, and tried again: whoever mends the database or the folder need not restart anything. Readiness
ends when an entry has waited too long for a checkpoint, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.proof.errors import ProofError
from services.proof.folder import CheckpointFolder
from services.proof.note import SigningKey
from services.recorder.notary import Notary, RefusedError
from services.runtime.errors import WaybillError
from services.runtime.host import Host

TOO_OLD_S: Final = 180.0
"""An entry that no published checkpoint covers after this time is an alarm."""
_READINESS: Final = "notary"


class NotaryKeyError(WaybillError):
    """The notary's key cannot be used."""

    hint = "WAYBILL_NOTARY_KEY_FILE names an Ed25519 key: `openssl genpkey -algorithm ed25519` makes one."


class Attestation:
    """Has the notary work, and says how it goes."""

    def __init__(self, host: Host, clock: Callable[[], datetime]) -> None:
        """Read the key, if there is one; raises :class:`NotaryKeyError`."""
        self._host = host
        self._refused = ""
        self._size = 0
        self._notary: Notary | None = None
        settings = host.settings
        if settings.notary_key_file is not None:
            try:
                key = SigningKey.read(settings.notary_name, settings.notary_key_file)
            except ProofError as error:
                raise NotaryKeyError(str(error)) from None
            self._notary = Notary(host.pool, key, CheckpointFolder(settings.checkpoint_dir, key.public), clock)

    def begin(self) -> bool:
        """Say whether there is anything to do; a deployment without a notary hears of it here, once."""
        if self._notary is None:
            self._host.telemetry.log.warning("no notary: WAYBILL_NOTARY_KEY_FILE is not set, and nothing is signed")
        return self._notary is not None

    async def run_once(self) -> None:
        """Sign what is there, and look at what still waits."""
        notary = self._notary
        assert notary is not None, "begun without a key"
        telemetry = self._host.telemetry
        try:
            newest = await notary.run_once()
        except RefusedError as refused:
            if self._refused != str(refused):
                telemetry.log.error("the notary does not sign", reason=str(refused))
            self._refused = str(refused)
        else:
            if self._refused:
                telemetry.log.info("the notary signs again")
            self._refused = ""
            telemetry.gauges.labels("checkpoint_entries").set(newest.size)
        finally:
            telemetry.gauges.labels("notary_refuses").set(int(bool(self._refused)))
            self._tell(await notary.unproven_s())

    def _tell(self, waited_s: float) -> None:
        self._host.telemetry.gauges.labels("unproven_s").set(waited_s)
        if waited_s < TOO_OLD_S:
            self._host.unready.pop(_READINESS, None)
            return
        why = self._refused or "is a transaction open somewhere in the cluster?"
        self._host.unready[_READINESS] = f"an entry has waited {waited_s:.0f} s for a checkpoint: {why}"
