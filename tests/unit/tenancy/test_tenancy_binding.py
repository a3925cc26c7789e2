"""Whose a message is: the table, signatures, keys that change, and the law that nobody writes for another."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenancy_samples import SECRETS, some_tenants

from services.tenancy import KEY_ID_HEADER, SIGNATURE_HEADER, Bound, Refusal, Tenants, bind, sign

VALUE = b'{"tenant": "signed"}'
TENANTS = some_tenants()
NAMES = [*TENANTS.tenants, "stranger"]
Headers = list[tuple[str, bytes]]


def bound(
    topic: str = "requests",
    headers: Headers | None = None,
    claimed: str | None = "signed",
    *,
    value: bytes = VALUE,
    tenants: Tenants = TENANTS,
    allow_unsigned: bool = False,
) -> Bound | Refusal:
    return bind(topic, headers or [], value, claimed, tenants, secret_of=SECRETS.get, allow_unsigned=allow_unsigned)


def signed(key_id: str = "s-1", secret: str = "s1", value: bytes = VALUE) -> Headers:
    return sign(key_id, secret, value)


@pytest.mark.parametrize(
    ("topic", "headers", "claimed", "allow_unsigned", "owner"),
    [
        ("requests.apart", [], "apart", False, "apart"),
        ("requests.apart", [], "signed", False, "apart"),
        ("requests.apart", [], None, False, "apart"),
        ("requests.apart", signed(), "signed", False, "apart"),
        ("requests.both", [], "both", False, "both"),
        ("feedback.apart", [], "apart", False, "apart"),
        ("requests", signed(), "signed", False, "signed"),
        ("requests", signed("s-2", "s2"), "signed", False, "signed"),
        ("requests", signed(), "other", False, "signed"),
        ("requests", signed(), None, False, "signed"),
        ("feedback", signed(), "signed", False, "signed"),
        ("requests", signed("b-1", "b1"), "both", False, "both"),
        ("requests", [], "stranger", True, "stranger"),
        ("requests", [], "listed", True, "listed"),
    ],
)
def test_the_topic_or_the_signature_says_whose_a_message_is(
    topic: str, headers: Headers, claimed: str | None, allow_unsigned: bool, owner: str
) -> None:
    found = bound(topic, headers, claimed, allow_unsigned=allow_unsigned)
    assert found == Bound(owner, claimed)
    assert isinstance(found, Bound)
    assert found.claim_holds is (claimed == owner)


@pytest.mark.parametrize(
    ("topic", "headers", "claimed", "allow_unsigned", "reason"),
    [
        ("requests.stranger", [], "stranger", True, "no tenant has this topic"),
        ("requests.signed", signed(), "signed", True, "no tenant has this topic"),
        ("requests.listed", [], "listed", True, "no tenant has this topic"),
        ("requests.", [], "apart", True, "no tenant has this topic"),
        ("requests.apart.x", [], "apart", True, "no tenant has this topic"),
        ("requests", [], "stranger", False, "not signed"),
        ("requests", [], "apart", True, "topics or keys of its own"),
        ("requests", [], "signed", True, "topics or keys of its own"),
        ("requests", [], "both", True, "topics or keys of its own"),
        ("requests", [], None, True, "names no tenant"),
        ("requests", signed("s-9", "s1"), "signed", True, "no tenant has this signing key"),
        ("requests", signed("s-1", "s2"), "signed", True, "not that of the message"),
        ("requests", signed(value=VALUE + b" "), "signed", True, "not that of the message"),
        ("requests", signed("o-gone", ""), "other", True, "cannot be read"),
        ("requests", signed("o-1", "s1"), "signed", True, "not that of the message"),
        ("requests", signed()[:1], "signed", True, "incomplete"),
        ("requests", signed()[1:], "signed", True, "incomplete"),
        ("requests", signed() + signed()[:1], "signed", True, "repeated"),
        ("requests", signed() + signed("o-1", "o1"), "other", True, "repeated"),
        ("requests", [(KEY_ID_HEADER, b"s-1"), (SIGNATURE_HEADER, b"not base64!")], "signed", True, "unreadable"),
        ("requests", [(KEY_ID_HEADER, b"\xff"), (SIGNATURE_HEADER, b"")], "signed", True, "unreadable"),
        ("requests", [(KEY_ID_HEADER, b"s-1"), (SIGNATURE_HEADER, b"")], "signed", True, "not that of the message"),
    ],
)
def test_what_nothing_binds_is_refused(
    topic: str, headers: Headers, claimed: str | None, allow_unsigned: bool, reason: str
) -> None:
    found = bound(topic, headers, claimed, allow_unsigned=allow_unsigned)
    assert isinstance(found, Refusal)
    assert reason in found.reason


def test_a_header_without_a_value_is_no_signature() -> None:
    headers: Headers = [(KEY_ID_HEADER, b"s-1"), (SIGNATURE_HEADER, None)]  # type: ignore[list-item]
    assert isinstance(bound(headers=headers), Refusal)
    headers = [(KEY_ID_HEADER, None), (SIGNATURE_HEADER, b"")]  # type: ignore[list-item]
    assert isinstance(bound(headers=headers), Refusal)


def test_both_keys_count_during_a_rotation_and_the_old_one_no_more_after_it() -> None:
    before = some_tenants(signed={"keys": [{"id": "s-1", "secret": "SIGNED_1"}]})
    after = some_tenants(signed={"keys": [{"id": "s-2", "secret": "SIGNED_2"}]})
    old, new = signed(), signed("s-2", "s2")
    assert [isinstance(bound(headers=h, tenants=before), Bound) for h in (old, new)] == [True, False]
    assert [isinstance(bound(headers=h, tenants=TENANTS), Bound) for h in (old, new)] == [True, True]
    assert [isinstance(bound(headers=h, tenants=after), Bound) for h in (old, new)] == [False, True]


def test_the_signature_is_the_one_that_the_documents_describe() -> None:
    # RFC 4231, test case 2.
    (_, key_id), (_, signature) = sign("k", "Jefe", b"what do ya want for nothing?")
    assert key_id == b"k"
    assert base64.b64decode(signature).hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


topics = st.sampled_from(["requests", "feedback", *(f"{t}.{n}" for t in ("requests", "feedback") for n in NAMES)])
values = st.sampled_from([VALUE, b"", b"{}"])
names = st.sampled_from(NAMES) | st.none()
KEYS = {"s-1": "s1", "s-2": "s2", "o-1": "o1", "b-1": "b1"}


@st.composite
def forgeries(draw: st.DrawFn, holds: str) -> tuple[str, Headers, bytes, str | None, bool]:
    """Return a message that somebody publishes who may use one tenant's topics and keys, and no other's."""
    own = TENANTS.get(holds)
    topics = ["requests", "feedback"] + [f"{t}.{holds}" for t in ("requests", "feedback") if own and own.topics]
    value = draw(values)
    others = st.sampled_from([*KEYS, "nothing"])
    # An id may be anybody's; a secret only its own, or a guess.
    mine = [SECRETS[key.secret] for key in own.keys if key.secret in SECRETS] if own else []
    headers = draw(
        st.just([])
        | st.builds(sign, others, st.sampled_from([*mine, "guess", ""]), st.just(value))
        | st.builds(lambda i, s: [(KEY_ID_HEADER, i.encode()), (SIGNATURE_HEADER, s)], others, st.binary(max_size=40))
    )
    return draw(st.sampled_from(topics)), list(headers), value, draw(names), draw(st.booleans())


@given(data=st.data(), holds=st.sampled_from(NAMES))
def test_nobody_writes_for_a_tenant_whose_topics_and_keys_they_do_not_have(data: st.DataObject, holds: str) -> None:
    topic, headers, value, claimed, allow_unsigned = data.draw(forgeries(holds))
    found = bound(topic, headers, claimed, value=value, allow_unsigned=allow_unsigned)
    if isinstance(found, Bound) and found.tenant != holds:
        # Only where unsigned messages are allowed, and only for a tenant that nothing binds.
        tenant = TENANTS.get(found.tenant)
        assert allow_unsigned
        assert tenant is None or not tenant.is_bound
        assert found.claim_holds


@given(topic=topics, claimed=names, value=values, allow_unsigned=st.booleans())
def test_what_a_message_claims_moves_it_to_nobody_else(
    topic: str, claimed: str | None, value: bytes, allow_unsigned: bool
) -> None:
    for headers in (sign("s-1", "s1", value), sign("o-1", "o1", value)):
        owners = {
            found.tenant if isinstance(found := bound(topic, headers, c, value=value), Bound) else None
            for c in (claimed, *NAMES, None)
        }
        assert len(owners) == 1
