"""The binding rule: a topic or a signature says whose a message is; what the message says of itself never does.

==================  =========================================================  =====================================
stood in            with                                                       belongs to
==================  =========================================================  =====================================
``requests.acme``   anything: only acme may write there                        acme, if it has topics of its own
``requests``        ``waybill-key-id`` and a right ``waybill-signature``       the key's tenant
``requests``        no signature, where unsigned messages are allowed          who it claims to be, unless that
                                                                               tenant has topics or keys
anything else                                                                  nobody: refused
==================  =========================================================  =====================================

``feedback`` and ``feedback.<tenant>`` bind alike. A message that is bound to one tenant and claims another is told by
:attr:`Bound.claim_holds`; whoever took it in records it under the *bound* one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.signature import KEY_ID_HEADER, SIGNATURE_HEADER
from services.tenancy.tenants import Tenants

SecretOf = Callable[[str], str | None]
"""Returns a secret by its name; None where there is none."""
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Bound:
    """Whose a message is, and whether it says so itself."""

    tenant: str
    claimed: str | None

    @property
    def claim_holds(self) -> bool:
        """Whether the message names the tenant that it is bound to."""
        return self.claimed == self.tenant


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody answers for a message; ``reason`` comes from a fixed list and holds no value of the message."""

    reason: str


NO_TOPICS: Final = Refusal("no tenant has this topic")
UNSIGNED: Final = Refusal("the message is not signed")
UNSIGNED_NAMES_NOBODY: Final = Refusal("the message is not signed and names no tenant")
UNSIGNED_BUT_BOUND: Final = Refusal("the tenant has topics or keys of its own, and the message is not signed")
HALF_SIGNED: Final = Refusal("the signature headers are incomplete, repeated or unreadable")
UNKNOWN_KEY: Final = Refusal("no tenant has this signing key")
SECRET_MISSING: Final = Refusal("the secret of this signing key cannot be read")
WRONG_SIGNATURE: Final = Refusal("the signature is not that of the message")


def own_topic(topic: str, tenant: str) -> str:
    """Return the name of a tenant's own topic beside a shared one, both without prefix."""
    return f"{topic}.{tenant}"


def bind(
    topic: str,
    headers: Headers,
    value: bytes,
    claimed: str | None,
    tenants: Tenants,
    *,
    secret_of: SecretOf,
    allow_unsigned: bool = False,
) -> Bound | Refusal:
    """Return whose a message is.

    ``topic`` is without the deployment's prefix; ``claimed`` is the tenant that the message names, None where it names
    none that could be one.
    """
    _, dot, owner = topic.partition(".")
    if dot:
        return Bound(owner, claimed) if tenants.has_topics(owner) else NO_TOPICS
    named = [found for name, found in headers if name == KEY_ID_HEADER]
    signatures = [found for name, found in headers if name == SIGNATURE_HEADER]
    if named or signatures:
        return _signed(named, signatures, value, claimed, tenants, secret_of)
    if not allow_unsigned:
        return UNSIGNED
    if claimed is None:
        return UNSIGNED_NAMES_NOBODY
    tenant = tenants.get(claimed)
    return UNSIGNED_BUT_BOUND if tenant is not None and tenant.is_bound else Bound(claimed, claimed)


def sign(key_id: str, secret: str, value: bytes) -> list[tuple[str, bytes]]:
    """Return the headers that sign a message's bytes."""
    return [(KEY_ID_HEADER, key_id.encode()), (SIGNATURE_HEADER, base64.b64encode(_mac(secret, value)))]


def _signed(
    named: Sequence[bytes],
    signatures: Sequence[bytes],
    value: bytes,
    claimed: str | None,
    tenants: Tenants,
    secret_of: SecretOf,
) -> Bound | Refusal:
    try:
        [key_id], [signature] = named, signatures
        name, given = key_id.decode("ascii"), base64.b64decode(signature, validate=True)
    except (ValueError, TypeError, AttributeError):  # a header may also have no value at all
        return HALF_SIGNED
    signer = tenants.signers.get(name)
    if signer is None:
        return UNKNOWN_KEY
    tenant, key = signer
    secret = secret_of(key.secret)
    if not secret:
        return SECRET_MISSING
    return Bound(tenant, claimed) if hmac.compare_digest(_mac(secret, value), given) else WRONG_SIGNATURE


def _mac(secret: str, value: bytes) -> bytes:
    return hmac.digest(secret.encode(), value, hashlib.sha256)
