"""The ACLs of a broker, taken from the `kafka-acls` lines that the documentation gives to operators."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "operations.md"
_ALLOW: Final = 3
_LINE = re.compile(r"^kafka-acls (?:.*\\\n)*.*", re.MULTILINE)


class Resource(IntEnum):
    """Kafka's numbers for kinds of resources."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4


class Pattern(IntEnum):
    """Kafka's numbers for how a resource is named."""

    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """Kafka's numbers for what may be done."""

    ALL = 2
    READ = 3
    WRITE = 4
    DESCRIBE = 8


@dataclass(frozen=True)
class Acl:
    """One thing that one user may do."""

    user: str
    operation: Operation
    resource: Resource
    name: str
    pattern: Pattern


def documented() -> list[Acl]:
    """Return the ACLs of every `kafka-acls` line of the document; one that it would refuse is a ``SystemExit``."""
    return [acl for line in _LINE.findall(DOCUMENT.read_text(encoding="utf-8")) for acl in _parsed(line)]


def renamed(acls: Iterable[Acl], prefix: str, users: Mapping[str, Iterable[str]]) -> list[Acl]:
    """Return ACLs for topics under a prefix, and those of each documented user for some users of a test's own."""
    return [
        replace(acl, user=user, name=re.sub(r"^waybill\.", prefix, acl.name.replace(acl.user, user)))
        for acl in acls
        for user in users[acl.user]
    ]


def _fields(acl: Acl) -> dict[str, Any]:
    return {
        "resource_type": acl.resource,
        "resource_name": acl.name,
        "resource_pattern_type_filter": acl.pattern,
        "principal": f"User:{acl.user}",
        "host": "*",
        "operation": acl.operation,
        "permission_type": _ALLOW,
    }


async def create(admin: AIOKafkaAdminClient, acls: Iterable[Acl]) -> None:
    """Make ACLs; the admin's login has to be one that may."""
    for acl in acls:
        request = CreateAclsRequest(**_fields(acl))
        response = await admin._send_to_controller(request)
        for code, message in response.creation_responses:
            assert code == 0, f"{acl}: {message}"


async def in_force(admin: AIOKafkaAdminClient, acls: Iterable[Acl]) -> bool:
    """Say whether the broker goes by these ACLs: what it is told reaches its authorizer a moment later."""
    for acl in acls:
        request = DescribeAclsRequest(**_fields(acl))
        response = await admin._send_to_controller(request)
        assert response.error_code == 0, f"{acl}: {response.error_message}"
        if not response.resources:
            return False
    return True


def _parsed(line: str) -> Iterable[Acl]:
    parser = argparse.ArgumentParser(prog="kafka-acls", allow_abbrev=False)
    parser.add_argument("--add", action="store_true", required=True)
    for option in ("--bootstrap-server", "--command-config"):
        parser.add_argument(option)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", required=True, action="append")
    for kind in ("topic", "group"):
        parser.add_argument(f"--{kind}", action="append", default=[])
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--resource-pattern-type", default="literal", choices=["literal", "prefixed"])
    given = parser.parse_args(shlex.split(line.replace("\\\n", " "))[1:])
    named = [(Resource.TOPIC, name) for name in given.topic] + [(Resource.GROUP, name) for name in given.group]
    named += [(Resource.CLUSTER, "kafka-cluster")] if given.cluster else []
    for operation in given.operation:
        for resource, name in named:
            yield Acl(
                given.allow_principal.removeprefix("User:"),
                Operation[operation.upper()],
                resource,
                name,
                Pattern[given.resource_pattern_type.upper()],
            )
