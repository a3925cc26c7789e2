"""Where the files of a policy are, and loading them with errors for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from services.policy import Catalog, Policy, PolicyError
from services.runtime.errors import WaybillError

CATALOG: Final = "catalog.yaml"
POLICIES: Final = "policies"
Folder = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="The folder of catalog.yaml, aliases.yaml and policies/; else WAYBILL_CONFIG_DIR, or config.",
    ),
]


class PolicyRefusedError(WaybillError):
    """The policy, catalog or aliases cannot be used."""


def config_folder(given: Path | None) -> Path:
    """Return the folder of configuration that is meant: the one given, or the one that a given bundle stands in."""
    folder = given or Path(os.environ.get("WAYBILL_CONFIG_DIR") or "config")
    if not (folder / CATALOG).exists() and (folder.parent / CATALOG).exists() and folder.name == POLICIES:
        return folder.parent
    return folder


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what the policy library says into an error for people."""
    try:
        yield
    except PolicyError as error:
        raise PolicyRefusedError(str(error), hint=error.hint) from error


def load(folder: Path) -> Policy:
    """Return the policy of a folder; raises :class:`PolicyRefusedError` naming file, line and column."""
    with refusing():
        return Policy.load(folder, os.environ)


def load_catalog(folder: Path) -> Catalog:
    """Return the catalog of a folder alone; raises :class:`PolicyRefusedError`."""
    with refusing():
        return Catalog.load(folder / CATALOG, os.environ)
