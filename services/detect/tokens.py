"""Exact token counts for the encodings in the ``bpe-openai`` wheel; nothing is downloaded."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

# The package's public Encoding refuses texts over 200,000 tokens or a million characters and keeps a second copy of the
# vocabulary in Python objects; its typed bindings do neither, and count without building the list of tokens.
from bpe_openai import _bindings

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


def _encodable(text: str) -> str:
    # A lone surrogate has no UTF-8 form, and tokenizers see the replacement character in its place.
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@cache
def _tokenizer(encoding: str) -> _bindings.PyTokenizer:
    known = [name for name in _bindings.supported_encodings() if name in ("o200k_base", "cl100k_base")]
    if encoding not in known:
        raise ValueError(f"unknown encoding {encoding!r}; known are {', '.join(known)}")
    return _bindings.tokenizer_for_encoding(encoding)
