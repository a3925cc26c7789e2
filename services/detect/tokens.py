"""Exact token counts for the encodings in the ``bpe-openai`` wheel; nothing is downloaded.

Models of other vendors have tokenizers that are not public; :data:`MARGINS` says by how much they may count more.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

# What a vendor's tokenizer is taken to count for each token of o200k_base: usually, and at most. Anthropic's by the
# 65,000 tokens of the package anthropic-tokenizer 0.1.0, perhaps older than their models, over 1,384 texts: 1.10
# in all, 4.95 for one in a hundred, 7.37 at most, in scripts that it spells in bytes. The others are allowances, not
# measured, for texts in Latin script.
MARGINS: Final[dict[str, tuple[float, float]]] = {
    "anthropic": (1.2, 7.5),
    "google": (1.05, 1.3),
    "meta": (1.1, 1.5),
    "mistral": (1.15, 1.7),
}

# The binding holds the interpreter lock: pieces of this size let other threads in every few milliseconds.
PIECE_CHARACTERS: Final = 65_536

# Both encodings always begin a token before the blank of "a b" and after the newline of "\nb": cutting there, and only
# there, leaves the sum of the pieces' counts equal to the whole's.
_CUT = re.compile(r"(?<=[^\W\d_])(?= [^\W\d_])|(?<=\n)(?=[^\W\d_])")


def count_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Count the tokens of ``text``, special tokens being read as plain text.

    Raises ``ValueError`` for an encoding that is not in the wheel.
    """
    tokenizer = _tokenizer(encoding)
    if len(text) <= PIECE_CHARACTERS:
        return int(tokenizer.count(_encodable(text)))
    text = _encodable(text)
    total = start = 0
    while start < len(text):
        cut = _CUT.search(text, start + PIECE_CHARACTERS)
        end = cut.start() if cut else len(text)
        total += tokenizer.count(text[start:end])
        start = end
    return total


def tokens_at_most(exact: int) -> dict[str, int]:
    """Return by vendor how many tokens its models count at most where ``o200k_base`` has ``exact``."""
    return {vendor: -int(-exact * most // 1) for vendor, (_, most) in MARGINS.items()}


def _encodable(text: str) -> str:
    # A lone surrogate has no UTF-8 form, and tokenizers see the replacement character in its place.
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@cache
def _bindings() -> ModuleType:
    """Return the wheel's compiled module by itself.

    The package around it refuses texts over 200,000 tokens and, on import, builds a second vocabulary of 60 MB in
    Python objects. The module is registered under its own name, so that whoever imports the package shares it.
    """
    name = "bpe_openai._bindings"
    if name in sys.modules:
        return sys.modules[name]
    package = find_spec("bpe_openai")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("bpe_openai is not installed", name="bpe_openai")
    (binary,) = Path(package.submodule_search_locations[0]).glob("_bindings.*.so")
    spec = spec_from_file_location(name, binary)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


@cache
def _tokenizer(encoding: str) -> Any:
    known = [name for name in _bindings().supported_encodings() if name in ("o200k_base", "cl100k_base")]
    if encoding not in known:
        raise ValueError(f"unknown encoding {encoding!r}; known are {', '.join(known)}")
    return _bindings().tokenizer_for_encoding(encoding)
