"""The same seed, body and run give the same answer; and what is drawn looks like chance."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_client import Client, Start, chat_body

from services.standalone.simulator.calls import InvalidCallError
from services.standalone.simulator.draw import Draw
from services.standalone.simulator.json_sample import sample_json

CHAT = "/v1/chat/completions"


async def runs(client: Client, text: str, times: int) -> list[tuple[int, bytes]]:
    return [(await client.post(CHAT, chat_body(text)))[:2] for _ in range(times)]


async def test_the_same_seed_gives_the_same_answers_byte_for_byte(start: Start) -> None:
    one, two, other = await start(seed=7), await start(seed=7), await start(seed=8)
    expected = await runs(one, "Hello", 5)
    await runs(two, "Something in between", 3)
    assert await runs(two, "Hello", 5) == expected
    assert await runs(other, "Hello", 5) != expected
    assert len(set(expected)) == 5, "each run of a body is its own"
    await one.post("/sim/reset", None)
    assert await runs(one, "Hello", 5) == expected


async def test_a_text_has_one_vector_for_each_seed(start: Start) -> None:
    one, two, other = await start(seed=7), await start(seed=7), await start(seed=8)
    body = {"model": "sim-embed", "input": "a text " * 200}
    found = [(await client.post("/v1/embeddings", body))[1] for client in (one, one, two, other)]
    assert found[0] == found[1] == found[2] != found[3]


async def test_seeded_faults_repeat_and_are_of_every_kind(start: Start) -> None:
    async def statuses(client: Client) -> list[int]:
        found = []
        for number in range(120):
            try:
                found.append((await client.post(CHAT, chat_body(f"{number}")))[0])
            except aiohttp.ClientError:
                found.append(0)
        return found

    one, two = await start(seed=3, fault_rate=0.5), await start(seed=3, fault_rate=0.5)
    found = await statuses(one)
    assert found == await statuses(two)
    assert set(found) == {0, 200, 429, 500, 503}


@given(seed=st.integers(-(1 << 70), 1 << 70), digest=st.binary(min_size=32, max_size=32), nth=st.integers(1, 1 << 40))
def test_draws_stay_in_their_range(seed: int, digest: bytes, nth: int) -> None:
    draw = Draw(seed, digest, nth)
    assert 0 <= draw.fraction("a") < 1
    assert 3 <= draw.integer("b", 3, 5) <= 5
    assert len(draw.token("c")) == 24
    assert draw.fraction("a") == Draw(seed, digest, nth).fraction("a")
    assert draw.token("c") != Draw(seed, digest, nth + 1).token("c")


TREE: dict[str, Any] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 30, "maxLength": 40},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "next", "children"],
            "additionalProperties": False,
        }
    },
}


def numbers() -> st.SearchStrategy[dict[str, Any]]:
    low = st.integers(-1_000, 1_000)
    return st.one_of(
        st.builds(lambda a, n: {"type": "integer", "minimum": a, "maximum": a + n}, low, st.integers(0, 50)),
        st.builds(lambda a: {"type": "number", "exclusiveMinimum": a}, low),
        st.builds(lambda a: {"type": "number", "exclusiveMaximum": a}, low),
        st.builds(lambda a, n: {"type": "integer", "minimum": a, "multipleOf": n}, low, st.integers(1, 20)),
        st.just({"type": "number", "minimum": 0, "maximum": 0.2}),
    )


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.integers(0, 60)
    leaves = st.one_of(
        numbers(),
        st.builds(lambda a, n: {"type": "string", "minLength": a, "maxLength": a + n}, lengths, lengths),
        st.sampled_from(
            [
                {"type": "boolean"},
                {"type": ["string", "null"]},
                {"enum": ["a", 1, None]},
                {"const": {"x": 1}},
                {"type": "string", "format": "date-time"},
                {"type": "string", "pattern": "^[0-9]+$"},
                TREE["$defs"]["node"]["properties"]["name"],
            ]
        ),
    )

    def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        fields = st.dictionaries(st.sampled_from("abcde"), inner, max_size=4)
        return st.one_of(
            st.builds(
                lambda a, n, items: {"type": "array", "minItems": a, "maxItems": a + n, "items": items},
                st.integers(0, 3),
                st.integers(0, 2),
                inner,
            ),
            fields.map(lambda f: {"type": "object", "properties": f, "required": [*f], "additionalProperties": False}),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
            st.tuples(fields, fields).map(
                lambda two: {"allOf": [{"type": "object", "required": [*f]} for f in two] + [{"properties": two[0]}]}
            ),
        )

    return st.recursive(leaves, nested, max_leaves=8)


@given(schema=schemas(), seed=st.integers(0, 1_000))
def test_sampled_json_satisfies_its_schema(schema: dict[str, Any], seed: int) -> None:
    value = sample_json(schema, Draw(seed, b"body", 1))
    jsonschema.validate(json.loads(json.dumps(value)), schema)


@given(seed=st.integers(0, 1_000))
def test_recursive_schemas_come_to_an_end(seed: int) -> None:
    jsonschema.validate(sample_json(TREE, Draw(seed, b"body", 1)), TREE)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        {"type": "mystery"},
        {"type": "string", "pattern": "("},
    ],
)
def test_what_cannot_be_satisfied_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidCallError):
        sample_json(schema, Draw(0, b"body", 1))
