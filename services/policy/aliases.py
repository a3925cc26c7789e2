"""Aliases: the names that jobs ask for, and the weighted models that stand behind each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from schemas.decision import Route
from services.policy.catalog import Catalog, Name
from services.policy.errors import AliasError
from services.policy.files import Spec, content_hash, parse, read_yaml


class Target(Spec):
    """A model behind an alias, in any region or in one, with the share of jobs that it takes."""

    provider: Name
    model: Name
    region: Name | None = None
    weight: Annotated[int, Field(ge=1)] = 1

    def matches(self, route: Route) -> bool:
        """Tell whether a route is this target."""
        return (self.provider, self.model) == (route.provider, route.model) and self.region in (None, route.region)


class Alias(Spec):
    """What an alias stands for; a job under it never leaves these targets."""

    description: str = ""
    targets: Annotated[list[Target], Field(min_length=1)]

    def matches(self, route: Route) -> bool:
        """Tell whether a route is among the targets."""
        return any(target.matches(route) for target in self.targets)


class Aliases(Spec):
    """All aliases, and the one for jobs that name none."""

    version: Literal[1]
    default: Name
    aliases: Annotated[dict[Name, Alias], Field(min_length=1)]

    @classmethod
    def load(cls, path: Path, catalog: Catalog) -> Aliases:
        """Read an alias file; raises :class:`~services.policy.errors.PolicyError` naming the alias that is wrong."""
        aliases = parse(cls, read_yaml(path), where=str(path), error=AliasError)
        if aliases.default not in aliases.aliases:
            raise AliasError(f"{path}: the default alias {aliases.default!r} is not among the aliases.")
        routes = [offer.route for offer in catalog.offers]
        for name, alias in aliases.aliases.items():
            for target in alias.targets:
                if not any(target.matches(route) for route in routes):
                    raise AliasError(
                        f"{path}: alias {name}: the catalog has no model {target.provider}/{target.model}"
                        f"{f' in {target.region}' if target.region else ''}.",
                        hint="Add the model to catalog.yaml, or take the target out.",
                    )
        return aliases

    @property
    def hash(self) -> str:
        """The content hash of all aliases."""
        return content_hash(self.model_dump(mode="json"))
