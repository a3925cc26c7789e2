"""Master keys: what they wrap comes back under the key that wrapped it and for its purpose, or not at all."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_settings import make_settings

from services.runtime.master_keys import MasterKey, MasterKeyError, MasterKeys, WrappedKeyDamagedError

OLD, NEW = MasterKey(bytes(range(32))), MasterKey(bytes(32))
IN_BASE64 = [base64.b64encode(secret).decode() for secret in (bytes(range(32)), bytes(32))]
BOTH = MasterKeys([NEW, OLD])


@given(purpose=st.binary(max_size=40), secret=st.binary(min_size=32, max_size=48))
def test_a_wrapped_key_comes_back(purpose: bytes, secret: bytes) -> None:
    wrapped = OLD.wrap(purpose, secret)

    assert OLD.unwrap(purpose, wrapped) == secret
    assert secret not in wrapped
    assert OLD.wrap(purpose, secret) != wrapped


@given(data=st.data())
def test_a_wrapped_key_is_bound_to_its_purpose_and_master_key(data: st.DataObject) -> None:
    wrapped = OLD.wrap(b"purpose", bytes(48))
    damaged = bytearray(wrapped)
    damaged[data.draw(st.integers(0, len(wrapped) - 1))] ^= data.draw(st.integers(1, 255))

    for master, purpose, bytes_ in [
        (OLD, b"another", wrapped),
        (NEW, b"purpose", wrapped),
        (OLD, b"purpose", bytes(damaged)),
        (OLD, b"purpose", wrapped[: data.draw(st.integers(0, len(wrapped) - 1))]),
    ]:
        with pytest.raises(WrappedKeyDamagedError):
            master.unwrap(purpose, bytes_)


def test_the_first_key_wraps_and_all_of_them_open() -> None:
    assert NEW.unwrap(b"p", BOTH.wrap(b"p", b"secret")) == b"secret"
    assert BOTH.unwrap(OLD.name, b"p", OLD.wrap(b"p", b"secret")) == b"secret"
    assert BOTH.names == [NEW.name, OLD.name]


def test_a_key_under_another_master_key_is_a_deployment_to_mend() -> None:
    with pytest.raises(MasterKeyError, match=OLD.name):
        MasterKeys([NEW]).unwrap(OLD.name, b"p", OLD.wrap(b"p", b"secret"))


@pytest.mark.parametrize("between", ["\n", ",", ", ", "\n\n", "\r\n"])
def test_keys_are_read_in_their_order(tmp_path: Path, between: str) -> None:
    file = tmp_path / "master"
    file.write_text(between.join(reversed(IN_BASE64)) + "\n")

    assert MasterKeys.read(file).names == [NEW.name, OLD.name]


@pytest.mark.parametrize(
    "text", ["", " \n", "not base64!", base64.b64encode(bytes(31)).decode(), "ü", f"{IN_BASE64[0]}\n# a comment"]
)
def test_a_master_key_that_cannot_be_used_is_refused_unshown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "master"
    file.write_text(text)

    with pytest.raises(MasterKeyError) as caught:
        MasterKeys.read(file)
    assert not text.strip() or text not in str(caught.value)
    assert IN_BASE64[0] not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "openssl" in caught.value.hint


def test_no_master_key_is_an_error_for_people(tmp_path: Path) -> None:
    for missing in (None, tmp_path / "none"):
        with pytest.raises(MasterKeyError):
            MasterKeys.read(missing)


def test_keys_come_from_the_file_or_the_variable_and_not_from_both(tmp_path: Path) -> None:
    file = tmp_path / "master"
    file.write_text(IN_BASE64[0])

    assert MasterKeys.of(make_settings(WAYBILL_MASTER_KEY_FILE=file)).names == [OLD.name]
    given = make_settings(WAYBILL_MASTER_KEY=",".join(reversed(IN_BASE64)))
    assert MasterKeys.of(given).names == [NEW.name, OLD.name]
    assert not any(secret in f"{given!r} {given.master_key}" for secret in IN_BASE64)
    with pytest.raises(MasterKeyError, match="both"):
        MasterKeys.of(make_settings(WAYBILL_MASTER_KEY_FILE=file, WAYBILL_MASTER_KEY=IN_BASE64[1]))
    with pytest.raises(MasterKeyError):
        MasterKeys.of(make_settings())
