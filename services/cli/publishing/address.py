"""Where jobs go, where their results come from, and what says whose they are: a topic or a signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from schemas.topics import FEEDBACK, REQUESTS, RESULTS
from services.runtime.errors import WaybillError
from services.runtime.secrets import Secrets
from services.runtime.settings import Settings
from services.tenancy import Tenants, own_topic, sign

Headers = list[tuple[str, bytes]]


class SecretMissingError(WaybillError):
    """The secret of a signing key is not here."""

    hint = "Put it into a file of that name in WAYBILL_SECRETS_DIR, or into the variable of that name."


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key at hand; its secret is shown nowhere."""

    key_id: str
    secret: str = field(repr=False)

    @classmethod
    def find(cls, settings: Settings, key_id: str, secret: str) -> Signer:
        """Return a key by its id and its secret's name; raises :class:`SecretMissingError`."""
        found = Secrets(settings.secrets_dir).get(secret)
        if not found:
            raise SecretMissingError(f"The secret {secret} of the signing key {key_id} is not here.")
        return cls(key_id, found)


@dataclass(frozen=True, slots=True)
class Address:
    """The topics of a client, without the prefix, and the key that it signs with, if it does."""

    requests: str = REQUESTS.name
    results: str = RESULTS.name
    feedback: str = FEEDBACK.name
    signer: Signer | None = None

    def headers(self, value: bytes) -> Headers:
        """Return what goes along with a message."""
        return [] if self.signer is None else sign(self.signer.key_id, self.signer.secret, value)


SHARED: Final = Address()


def own_address(tenant: str) -> Address:
    """Return the address of a tenant that has topics of its own."""
    requests, results, feedback = (own_topic(topic.name, tenant) for topic in (REQUESTS, RESULTS, FEEDBACK))
    return Address(requests, results, feedback)


def address_of(tenant: str, tenants: Tenants, settings: Settings) -> Address:
    """Return the address by which a tenant in force is known; raises :class:`SecretMissingError`.

    Of two keys the first whose secret is here signs.
    """
    found = tenants.get(tenant)
    if found is None or not found.is_bound:
        return SHARED
    if found.topics:
        return own_address(tenant)
    secrets = Secrets(settings.secrets_dir)
    key = next((key for key in found.keys if secrets.get(key.secret)), found.keys[0])
    return Address(signer=Signer.find(settings, key.id, key.secret))
