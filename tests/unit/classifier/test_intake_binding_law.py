"""The binding law: no message ends in the record, or among the results, of a tenant that its sender is not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import cancel, job, replay
from support.tenants import Nobody, some_tenants

from schemas.codes import ErrorCode
from services.classifier import intake
from services.classifier.intake import NoTenantError, Rejected
from services.runtime.settings import Settings
from services.runtime.wakeup import Wakeups
from services.tenancy import Bound, bind, sign

TENANTS = some_tenants(
    apart={"topics": True},
    beside={"topics": True},
    signed={"keys": [{"id": "s-1", "secret": "S"}]},
    other={"keys": [{"id": "o-1", "secret": "O"}]},
    listed={},
)
SECRETS = {"S": "s", "O": "o"}
HOLDS = {"signed": ("s-1", "s"), "other": ("o-1", "o")}
SETTINGS = Settings(DATABASE_URL="postgresql://nowhere", KAFKA_BOOTSTRAP_SERVERS="nowhere:9092")
WAKEUPS = Wakeups(SETTINGS, Nobody(TENANTS))

senders = st.sampled_from([*TENANTS.tenants, "stranger"])
claims = st.sampled_from([*TENANTS.tenants, "stranger", "Not An Id", None])


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Return a job, a cancel, a replay or what is none of them, in anybody's name."""
    claim = draw(claims)
    one: dict[str, Any] = draw(
        st.sampled_from([job(), job(idempotency_key="k"), job(colour="red"), cancel("k"), replay(UUID(int=1)), {}])
    )
    document = {**one, "tenant": claim} if claim is not None else {n: v for n, v in one.items() if n != "tenant"}
    return draw(st.sampled_from([orjson.dumps(document), b"no JSON", b"[]", b"NaN"]))


@given(sender=senders, value=documents(), own=st.booleans(), signs=st.booleans(), allow_unsigned=st.booleans())
def test_nobody_reaches_another_tenants_records_or_results(
    sender: str, value: bytes, own: bool, signs: bool, allow_unsigned: bool
) -> None:
    agreed = TENANTS.get(sender)
    on_own = own and agreed is not None and agreed.topics
    topic = f"requests.{sender}" if on_own else "requests"
    headers = sign(*HOLDS[sender], value) if signs and sender in HOLDS else []
    message: intake.Job | intake.Cancel | intake.Replay | Rejected | NoTenantError
    try:
        message = intake.read(value)
        claimed = message.tenant
    except NoTenantError as nobody:
        message, claimed = nobody, None
    found = bind(topic, headers, value, claimed, TENANTS, secret_of=SECRETS.get, allow_unsigned=allow_unsigned)
    if not isinstance(found, Bound):
        assert not on_own
        assert not headers
        return
    taken = intake.bound_to(found.tenant, message)
    assert taken.tenant == found.tenant
    if found.tenant != sender:
        tenant = TENANTS.get(found.tenant)
        assert allow_unsigned
        assert tenant is None or not tenant.is_bound
    if claimed != found.tenant:
        assert isinstance(taken, Rejected)
        assert (taken.fault.code is ErrorCode.TENANT_MISMATCH) == (claimed is not None)
    told = WAKEUPS.results_topic({"tenant": taken.tenant, "source": {"topic": SETTINGS.topic(topic)}})
    assert told == SETTINGS.topic(f"results.{taken.tenant}" if TENANTS.has_topics(taken.tenant) else "results")
