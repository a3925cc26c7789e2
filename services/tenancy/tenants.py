"""The tenants of a deployment, as ``config/tenants.yaml`` has them and as Postgres keeps each version."""

from __future__ import annotations

import hashlib
from collections import Counter
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints, model_validator

from schemas.codes import DataClass
from schemas.job import TenantId

MAX_KEYS: Final = 2
"""The key in use, and the one that takes its place."""

MAX_RULE_FILES: Final = 8
MAX_RULES_CHARACTERS: Final = 64 * 1024

KeyId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
# A name becomes a file's name in the secrets folder: it may not lead out of it.
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=128)]
Region = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Usd = Annotated[
    Decimal,
    Field(ge=0, max_digits=12, decimal_places=6),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
]
Days = Annotated[int, Field(ge=1, le=36_500)]


def _is_empty(value: object) -> bool:
    return value == ()


class Part(BaseModel):
    """A part of the file; an unknown field is refused, so that a misspelt limit cannot vanish."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SigningKey(Part):
    """A key that signs a tenant's messages on the shared topics: its public id, and its secret by name."""

    id: KeyId
    secret: SecretName


def _file_is_inside(file: str) -> str:
    if ".." in file.split("/"):
        raise ValueError("leads out of the folder of the configuration")
    return file


class RuleFile(Part):
    """Rules of a tenant's own for what is in its jobs: a file beside ``tenants.yaml``, and what it said."""

    file: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$", max_length=200),
        AfterValidator(_file_is_inside),
    ]
    content: Annotated[str, StringConstraints(max_length=MAX_RULES_CHARACTERS)] = ""

    @model_validator(mode="before")
    @classmethod
    def _may_be_given_by_its_name(cls, given: object) -> object:
        return {"file": given} if isinstance(given, str) else given


class Budgets(Part):
    """What a tenant may spend, in US dollars. Kept and shown; nothing enforces it yet."""

    daily_usd: Usd | None = None
    monthly_usd: Usd | None = None


class Tenant(Part):
    """What one tenant has agreed to; what is left out, the deployment's own settings decide."""

    topics: bool = False
    """Whether it has topics of its own, ``requests.<tenant>`` and the like, to which only it may write."""
    keys: Annotated[tuple[SigningKey, ...], Field(max_length=MAX_KEYS)] = ()
    """What signs its messages on the shared topics: one key, or two while one takes the other's place."""
    in_doubt_cap_usd: Usd | None = None
    retention_days: dict[DataClass, Days] = {}
    """How long content is kept, by the class of its data."""
    regions: Annotated[tuple[Region, ...], Field(min_length=1)] | None = None
    """The only regions in which its jobs may be answered."""
    budgets: Budgets = Budgets()
    # Left out where there are none: versions applied before there were any keep their digests.
    rules: Annotated[tuple[RuleFile, ...], Field(max_length=MAX_RULE_FILES, exclude_if=_is_empty)] = ()
    """What is found in its jobs beside what the product finds; the file names files, a version holds their content."""

    @property
    def is_bound(self) -> bool:
        """Whether something other than its own word says that a message is this tenant's."""
        return self.topics or bool(self.keys)


class Tenants(Part):
    """All tenants of a deployment, by id."""

    version: Literal[1]
    tenants: dict[TenantId, Tenant] = {}

    @model_validator(mode="after")
    def _no_key_is_two_tenants(self) -> Tenants:
        ids = Counter(key.id for tenant in self.tenants.values() for key in tenant.keys)
        if repeated := sorted(key_id for key_id, times in ids.items() if times > 1):
            raise ValueError(f"the key id {' and '.join(repeated)} is given more than once")
        # Who holds a secret signs for whoever names it: two tenants with one secret would be one tenant.
        owners: dict[str, str] = {}
        for name, tenant in self.tenants.items():
            for key in tenant.keys:
                if owners.setdefault(key.secret, name) != name:
                    raise ValueError(f"the secret {key.secret} is that of {owners[key.secret]} and of {name}")
        return self

    def get(self, tenant: str) -> Tenant | None:
        """Return a tenant, None where there is none of that id."""
        return self.tenants.get(tenant)

    def has_topics(self, tenant: str) -> bool:
        """Tell whether a tenant has topics of its own."""
        found = self.tenants.get(tenant)
        return found is not None and found.topics

    def in_doubt_cap_usd(self, tenant: str) -> Decimal | None:
        """Return up to which worst case a tenant's call in doubt is tried once more; None where nothing was agreed."""
        found = self.tenants.get(tenant)
        return None if found is None else found.in_doubt_cap_usd

    def retention_days(self, tenant: str, data_class: DataClass) -> int | None:
        """Return for how many days a tenant's content of a class is kept; None where nothing was agreed."""
        found = self.tenants.get(tenant)
        return None if found is None else found.retention_days.get(data_class)

    def rules(self, tenant: str) -> tuple[RuleFile, ...]:
        """Return a tenant's own rules for what is in its jobs; none where nothing was agreed."""
        found = self.tenants.get(tenant)
        return () if found is None else found.rules

    @cached_property
    def signers(self) -> dict[str, tuple[str, SigningKey]]:
        """By key id, whose key it is, and the key."""
        return {key.id: (name, key) for name, tenant in self.tenants.items() for key in tenant.keys}

    def content(self) -> bytes:
        """Return the canonical bytes of this version, which do not depend on how its file is laid out."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    def digest(self) -> bytes:
        """Return the SHA-256 that names this version."""
        return hashlib.sha256(self.content()).digest()

    @cached_property
    def name(self) -> str:
        """That digest as decisions tell it: ``sha256:…``."""
        return f"sha256:{self.digest().hex()}"
