"""Providers and models: what the catalog is made of, as its file has it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from services.policy.files import Spec
from services.policy.prices import PriceSpec, plain

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=128)]
Share = Annotated[float, Field(ge=0, le=1)]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=128)]
Capability = Literal["chat", "embed", "rerank", "tools", "structured"]
Hosting = Literal["shared", "private", "self-hosted"]
"""`shared` is a vendor's public endpoint, `private` one of its endpoints that serves nobody else."""
_CREDENTIALS: Final = re.compile(r"://[^/]*@")
_SECRET_HEADER: Final = re.compile(r"authorization|api-?key|token|secret|password|cookie", re.IGNORECASE)


class Batch(Spec):
    """A provider's batch interface: the share, 0 to 1, that it takes off, and the hours within which it answers."""

    discount: Annotated[Decimal, Field(ge=0, le=1), AfterValidator(plain)]
    window_hours: Annotated[int, Field(ge=1)] = 24


class Provider(Spec):
    """An account at a provider. `secret` is the name of a secret, never its value; `retention_days` 0 keeps nothing.

    `regions` are where calls are processed, `residency` where what is kept lies: the same, unless it is said.
    """

    name: Name
    description: str = ""
    simulated: bool = False
    adapter: Literal["openai-compatible"]
    base_url: str | None
    secret: SecretName | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    hosting: Hosting = "shared"
    regions: Annotated[list[Name], Field(min_length=1)]
    residency: Annotated[list[Name], Field(min_length=1)] | None = None
    retention_days: Annotated[int, Field(ge=0)]
    batch: Batch | None = None
    base_url_template: str | None = None
    """The address as it stands in the file; set at load."""
    unavailable: str | None = None
    """Why it cannot be called here, in words, ``None`` when it can; set at load."""

    @field_validator("retention_days", mode="before")
    @classmethod
    def _zero_is_a_word(cls, value: Any) -> Any:
        return 0 if value == "zero" else value

    @field_validator("base_url")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and _CREDENTIALS.search(value):
            raise ValueError("has a password in it; put it in a secret and name that under `secret`")
        return value

    @field_validator("headers")
    @classmethod
    def _no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        if named := sorted(name for name in value if _SECRET_HEADER.search(name)):
            raise ValueError(f"{', '.join(named)} would hold a secret; name the secret under `secret` instead")
        return value

    @property
    def kept_in(self) -> list[str]:
        """The regions where what the provider keeps of a job lies."""
        return self.regions if self.residency is None else self.residency


class Model(Spec):
    """A model at a provider; `quality` is 0 to 1 by task family, with a ``default``; `latency_ms` a typical call.

    `tool_reliability`, 0 to 1, is the share of tool calls and structured answers that are well-formed, where it was
    measured; `regions` is given where the model is not in all regions of its provider.
    """

    provider: Name
    name: Name
    version: str
    description: str = ""
    capabilities: Annotated[frozenset[Capability], Field(min_length=1)]
    regions: Annotated[list[Name], Field(min_length=1)] | None = None
    tool_reliability: Share | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Of the vectors of an embedding model."""
    context_window: Annotated[int, Field(ge=1)]
    max_output_tokens: Annotated[int, Field(ge=0)]
    quality: dict[str, Share]
    latency_ms: Annotated[int, Field(ge=0)]
    price: PriceSpec

    @field_validator("quality")
    @classmethod
    def _has_a_default(cls, value: dict[str, float]) -> dict[str, float]:
        if "default" not in value:
            raise ValueError("needs a default, for tasks without a figure of their own")
        return value

    def quality_for(self, task: str) -> float:
        """Return the quality, 0 to 1, expected in a task family."""
        return self.quality.get(task, self.quality["default"])
