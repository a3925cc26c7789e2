"""The keyring's pure parts: what was encrypted comes back whole, for its own record and entry, or not at all."""

from __future__ import annotations

import base64
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.runtime.keyring import ContentDamagedError, MasterKey, MasterKeyError, RecordKey

RECORD, OTHER_RECORD, ENTRY = UUID(int=1), UUID(int=2), UUID(int=3)
MASTER = MasterKey(bytes(range(32)))
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


@given(record=st.uuids())
def test_a_wrapped_key_comes_back(record: UUID) -> None:
    key = RecordKey.new(record)
    wrapped = MASTER.wrap(record, key)

    assert MASTER.unwrap(record, wrapped).secret == key.secret
    assert key.secret not in wrapped
    assert MASTER.unwrap(record, wrapped).decrypt(ENTRY, "job", key.encrypt(ENTRY, "job", b"content")) == b"content"


@given(data=st.data())
def test_a_wrapped_key_is_bound_to_record_and_master_key(data: st.DataObject) -> None:
    wrapped = MASTER.wrap(RECORD, KEY)
    damaged = bytearray(wrapped)
    damaged[data.draw(st.integers(0, len(wrapped) - 1))] ^= data.draw(st.integers(1, 255))

    for master, record, bytes_ in [
        (MASTER, OTHER_RECORD, wrapped),
        (MasterKey(bytes(32)), RECORD, wrapped),
        (MASTER, RECORD, bytes(damaged)),
        (MASTER, RECORD, wrapped[: data.draw(st.integers(0, len(wrapped) - 1))]),
    ]:
        with pytest.raises(ContentDamagedError):
            master.unwrap(record, bytes_)


tenants = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


@given(tenants=st.lists(tenants, min_size=2, max_size=2, unique=True), content=st.binary(max_size=40))
def test_tenants_and_purposes_have_hashes_of_their_own(tenants: list[str], content: bytes) -> None:
    first, second = tenants

    assert MASTER.tenant_hmac(first, "key", content) == MasterKey(bytes(range(32))).tenant_hmac(first, "key", content)
    assert MASTER.tenant_hmac(first, "key", content) != MASTER.tenant_hmac(second, "key", content)
    assert MASTER.tenant_hmac(first, "key", content) != MASTER.tenant_hmac(first, "payload", content)
    assert MASTER.tenant_hmac(first, "key", content) != MASTER.tenant_hmac(first, "key", content + b"\0")
    assert MASTER.tenant_hmac(first, "key", content) != MasterKey(bytes(32)).tenant_hmac(first, "key", content)


def test_a_purpose_cannot_run_into_the_content() -> None:
    assert MASTER.tenant_hmac("acme", "key", b"a") != MASTER.tenant_hmac("acme", "keya", b"")


def test_a_master_key_is_named_without_being_shown(tmp_path: Path) -> None:
    file = tmp_path / "master"
    file.write_text(base64.b64encode(bytes(range(32))).decode() + "\n")

    assert MasterKey.read(file).name == MASTER.name
    assert MASTER.name != MasterKey(bytes(32)).name


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(bytes(31)).decode(), "ü"])
def test_a_master_key_that_cannot_be_used_is_refused_unshown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "master"
    file.write_text(text)

    with pytest.raises(MasterKeyError) as caught:
        MasterKey.read(file)
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "openssl" in caught.value.hint


def test_no_master_key_is_an_error_for_people(tmp_path: Path) -> None:
    for missing in (None, tmp_path / "none"):
        with pytest.raises(MasterKeyError):
            MasterKey.read(missing)
