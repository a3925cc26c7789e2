"""The keyring's pure parts: what was encrypted comes back whole, for its own record and entry, or not at all."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.runtime.keyring import ContentDamagedError, RecordKey

RECORD, OTHER_RECORD, ENTRY = UUID(int=1), UUID(int=2), UUID(int=3)
KEY = RecordKey(RECORD, bytes(range(48)))

contents = st.one_of(st.binary(max_size=600), st.integers(250, 5_000).map(lambda size: b"waybill " * size))


@given(content=contents)
@example(content=b"")
@example(content=b"x" * 255)
@example(content=b"x" * 256)
def test_content_comes_back(content: bytes) -> None:
    ciphertext = KEY.encrypt(ENTRY, "job", content)

    assert KEY.decrypt(ENTRY, "job", ciphertext) == content
    assert len(content) < 24 or content[:24] not in ciphertext


def test_long_content_is_compressed_and_every_ciphertext_is_another() -> None:
    content = b"the same again " * 1_000

    assert len(KEY.encrypt(ENTRY, "job", content)) < len(content) / 10
    assert KEY.encrypt(ENTRY, "job", b"") != KEY.encrypt(ENTRY, "job", b"")


@given(content=contents, data=st.data())
def test_a_changed_byte_is_noticed(content: bytes, data: st.DataObject) -> None:
    ciphertext = bytearray(KEY.encrypt(ENTRY, "job", content))
    ciphertext[data.draw(st.integers(0, len(ciphertext) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(ContentDamagedError):
        KEY.decrypt(ENTRY, "job", bytes(ciphertext))


@given(content=st.binary(max_size=40), data=st.data())
def test_a_cut_is_noticed_wherever_it_is(content: bytes, data: st.DataObject) -> None:
    ciphertext = KEY.encrypt(ENTRY, "job", content)
    length = data.draw(st.integers(0, len(ciphertext) - 1))

    with pytest.raises(ContentDamagedError):
        KEY.decrypt(ENTRY, "job", ciphertext[:length])


@pytest.mark.parametrize(
    ("key", "entry", "kind"),
    [
        (RecordKey(OTHER_RECORD, KEY.secret), ENTRY, "job"),
        (KEY, UUID(int=4), "job"),
        (KEY, ENTRY, "output"),
        (RecordKey.new(RECORD), ENTRY, "job"),
    ],
    ids=["another record", "another entry", "another kind", "another key"],
)
def test_content_belongs_to_its_record_entry_and_kind(key: RecordKey, entry: UUID, kind: str) -> None:
    ciphertext = KEY.encrypt(ENTRY, "job", b"content")

    with pytest.raises(ContentDamagedError):
        key.decrypt(entry, kind, ciphertext)


def test_digests_are_salted_per_record() -> None:
    assert KEY.digest(b"content") == RecordKey(OTHER_RECORD, KEY.secret).digest(b"content")
    assert KEY.digest(b"content") != KEY.digest(b"content.")
    assert KEY.digest(b"content") != RecordKey.new(RECORD).digest(b"content")


def test_fresh_keys_are_all_different() -> None:
    assert len({RecordKey.new(RECORD).secret for _ in range(100)}) == 100
