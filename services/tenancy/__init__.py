"""Whose a message is, and what each tenant has agreed to: a pure library.

Authority: none of its own. :func:`bind` is a function of its arguments: the topic that a message stood in, its headers
and bytes, and the tenants that count. Who resolves secrets by their names is the caller. All state is immutable.

How it fails: a file that cannot be used raises :class:`~services.tenancy.load.TenantsError`, naming file and path, and
nothing is loaded. A message that nobody answers for is a :class:`Refusal` with a reason from a fixed list, never an
exception and never somebody's guess.

    config/tenants.yaml ─▶ load ─▶ Tenants ─▶ bind(topic, headers, bytes, claimed tenant) ─▶ Bound or Refusal
"""

from __future__ import annotations

from schemas.signature import KEY_ID_HEADER, SIGNATURE_HEADER
from services.tenancy.binding import (
    Bound,
    Refusal,
    SecretOf,
    bind,
    own_topic,
    sign,
)
from services.tenancy.tenants import RuleFile, SigningKey, Tenant, Tenants

__all__ = [
    "KEY_ID_HEADER",
    "SIGNATURE_HEADER",
    "Bound",
    "Refusal",
    "RuleFile",
    "SecretOf",
    "SigningKey",
    "Tenant",
    "Tenants",
    "bind",
    "own_topic",
    "sign",
]
