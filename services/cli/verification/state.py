"""How far a verification has come, in a small file: the next one goes on from there.

The file is trusted as whoever verifies trusts themselves: keep it where the database's administrators cannot write.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final

import orjson

from services.proof.merkle import Frontier
from services.proof.pack import Log
from services.runtime.errors import WaybillError

FORMAT: Final = "waybill-verified/1"


class StateFileError(WaybillError):
    """The state file cannot be used."""

    hint = "Name another file, or remove this one and verify from the beginning."


def read(file: Path, key: str, system: int) -> Log | None:
    """Return how far a verification by this key and of this cluster had come; None where there is no file yet."""
    try:
        document = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateFileError(f"{file} cannot be read: {type(error).__name__}") from None
    try:
        if (document["format"], document["key"], document["system"]) != (FORMAT, key, str(system)):
            raise StateFileError(f"{file} is of another database, or of another key")
        tree = Frontier.from_bytes(document["size"], base64.b64decode(document["tree"]))
        return Log(tree, base64.b64decode(document["positions"]), document["xid"])
    except (ValueError, KeyError, TypeError):
        raise StateFileError(f"{file} is not a state file") from None


def write(file: Path, key: str, system: int, log: Log) -> None:
    """Replace the file in one step."""
    document = {
        "format": FORMAT,
        "key": key,
        "system": str(system),
        "size": log.tree.size,
        "tree": base64.b64encode(log.tree.to_bytes()).decode(),
        "positions": base64.b64encode(log.positions).decode(),
        "xid": log.xid,
    }
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_bytes(orjson.dumps(document))
    fresh.replace(file)
