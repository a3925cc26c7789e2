"""Token counts are exact, also where a text is counted in pieces."""

from __future__ import annotations

import bpe_openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.detect import count_tokens, tokens

ENCODINGS = ["o200k_base", "cl100k_base"]
PROSE = st.lists(
    st.sampled_from(
        ["word", "Élan", "don't", " ", "  ", "\n", "\r\n", "\n\n", "\t", "12345", "日本", "e\u0301",
         "👩\u200d🚀", "()", "/", "²"]
    ),
    max_size=60,
).map("".join)  # fmt: skip


@pytest.fixture(scope="module")
def published() -> dict[str, bpe_openai.Encoding]:
    return {name: bpe_openai.get_encoding(name) for name in ENCODINGS}


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.one_of(st.text(max_size=200), PROSE))
@settings(deadline=None)
def test_counts_are_those_of_the_published_encoder(
    published: dict[str, bpe_openai.Encoding], encoding: str, text: str
) -> None:
    assert count_tokens(text, encoding) == len(published[encoding].encode_ordinary(text))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.one_of(st.text(max_size=200), PROSE), size=st.integers(1, 20))
@settings(deadline=None, max_examples=300)
def test_counting_in_pieces_changes_nothing(encoding: str, text: str, size: int) -> None:
    whole = count_tokens(text, encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "PIECE_CHARACTERS", size)
        assert count_tokens(text, encoding) == whole


def test_a_text_over_the_encoder_s_own_limit_is_counted() -> None:
    assert count_tokens("word " * 300_000) == 300_001


def test_special_tokens_are_plain_text_and_lone_surrogates_count_as_replaced() -> None:
    assert count_tokens("<|endoftext|>") > 1
    assert count_tokens("a \ud800 b") == count_tokens("a \ufffd b")


def test_other_vendors_count_at_most_what_is_stated_rounded_up() -> None:
    at_most = tokens.tokens_at_most(11)
    assert at_most.keys() == tokens.MARGINS.keys()
    assert at_most["mistral"] == 19  # 11 * 1.7 = 18.7
    assert all(11 <= 11 * usual <= at_most[vendor] for vendor, (usual, _) in tokens.MARGINS.items())


def test_the_empty_text_has_none() -> None:
    assert count_tokens("") == 0


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="p50k_base"):
        count_tokens("a", "p50k_base")
