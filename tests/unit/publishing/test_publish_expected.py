"""Which lines a result settles."""

from __future__ import annotations

from publish_samples import at, item, result

from services.cli.publishing.expected import Expected, payload_digest
from services.cli.publishing.items import Item, Position


def expecting(*published: tuple[Item, Position]) -> Expected:
    expected = Expected()
    for one, position in published:
        expected.add(one, position)
    return expected


def settled(expected: Expected, *args: object, **more: object) -> list[int]:
    return [waiting.line for waiting in expected.settle(result(*args, **more))]  # type: ignore[arg-type]


def test_a_job_without_a_key_is_told_by_where_it_stood() -> None:
    expected = expecting((item(1), at(0)), (item(2), at(1)), (item(3), at(0, partition=1)))
    assert settled(expected, at(0, partition=1)) == [3]
    assert settled(expected, at(7)) == []
    assert settled(expected, at(0, topic="other.requests")) == []
    assert len(expected) == 2


def test_a_job_published_before_answers_from_its_old_place() -> None:
    expected = expecting((item(1, "k"), at(10)))
    assert settled(expected, at(3), "other") == []
    assert settled(expected, at(3), "k", tenant="stranger") == []
    assert settled(expected, at(3), "k") == [1]


def test_a_result_that_comes_twice_counts_once() -> None:
    expected = expecting((item(1, "k"), at(0)))
    assert settled(expected, at(0), "k") == [1]
    assert settled(expected, at(0), "k") == []
    assert len(expected) == 0


def test_equal_lines_share_a_result() -> None:
    expected = expecting((item(1, "k"), at(0)), (item(2, "k"), at(1)), (item(3, "j"), at(2)))
    assert settled(expected, at(0), "k") == [1, 2]
    assert len(expected) == 1


def test_one_key_with_two_payloads_is_two_jobs() -> None:
    expected = expecting((item(1, "k", "a"), at(0)), (item(2, "k", "b"), at(1)))
    assert settled(expected, at(0), "k") == [1]
    assert settled(expected, at(1), "k", status="rejected") == [2]


def test_a_result_whose_content_was_erased_has_only_its_place() -> None:
    expected = expecting((item(1, "k"), at(0)))
    assert settled(expected, at(0), None) == [1]


def test_a_dead_letter_settles_one_place() -> None:
    expected = expecting((item(1), at(0)))
    assert expected.settle_position(at(1)) is None
    waiting = expected.settle_position(at(0))
    assert waiting is not None
    assert waiting.line == 1
    assert expected.settle_position(at(0)) is None


def test_payloads_are_compared_by_meaning() -> None:
    assert payload_digest(b'{"a": 1, "b": 2}') == payload_digest(b'{"b":2,"a":1}')
    assert payload_digest(b'{"a": 1}') != payload_digest(b'{"a": 2}')
    assert payload_digest(b"not json") != payload_digest(b"nor this")
