"""What a superuser could do to checkpointed entries and their positions, each way by a function of chance.

Each changes something and returns nothing; the caller's transaction undoes it. Where positions are changed too, they
are made to agree with the changed entries, as somebody would who knows how the record works.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from services.cli.verification.walk import pack_of
from services.proof.merkle import hash_leaf
from services.proof.pack import Pack, Position
from services.runtime.ledger import ChainHead, ChainWriter
from services.runtime.postgres import Connection
from support import sql

_SQL = sql.load("tamper")


class Target:
    """The entries and packs as they are, and a connection that may do everything."""

    def __init__(
        self, connection: Connection, entries: Sequence[asyncpg.Record], packs: Sequence[Pack], chance: random.Random
    ) -> None:
        self.entries, self.packs, self.chance = entries, packs, chance
        self._connection = connection

    @classmethod
    async def of(cls, connection: Connection, chance: random.Random) -> Target:
        """Take everything that protects entries away, and read them."""
        await connection.execute(_SQL["unlock"])
        entries = await connection.fetch(_SQL["entries"])
        return cls(connection, entries, [pack_of(row) for row in await connection.fetch(_SQL["packs"])], chance)

    def entry(self) -> asyncpg.Record:
        """Return any entry."""
        return self.chance.choice(self.entries)

    def chain(self, record_id: UUID) -> list[asyncpg.Record]:
        """Return a record's entries."""
        return sorted((e for e in self.entries if e["record_id"] == record_id), key=lambda e: e["seq"])

    async def run(self, statement: str, *arguments: Any, **names: str) -> None:
        """Run a statement."""
        await self._connection.execute(_SQL[statement].format(**names) if names else _SQL[statement], *arguments)

    async def set(self, entry: asyncpg.Record, column: str, value: Any) -> None:
        """Set one column of one entry."""
        await self.run("set_entry", entry["record_id"], entry["seq"], value, column=column)

    async def set_body(self, entry: asyncpg.Record, body: str, *, rehash: bool) -> bytes:
        """Set an entry's body, and its hash too if it is to agree."""
        await self.run("set_body", entry["record_id"], entry["seq"], body)
        digest = hash_leaf(body.encode())
        if rehash:
            await self.set(entry, "entry_hash", digest)
        return digest

    async def insert(self, row: dict[str, Any]) -> None:
        """Insert an entry."""
        names = ("record_id", "seq", "entry_id", "kind", "schema_version", "body", "entry_hash", "recorded_at", "xid")
        await self.run("insert_entry", *(row[name] for name in names))

    async def repack(self, first_leaf: int, change: Callable[[list[Position]], list[Position]]) -> None:
        """Change the positions of one pack."""
        pack = next(pack for pack in self.packs if pack.first_leaf == first_leaf)
        changed = Pack.of(pack.before, change(list(pack)), pack.xid_to)
        for column in ("record_ids", "seqs", "xids", "hashes"):
            await self.run("set_pack", first_leaf, getattr(changed, column), column=column)

    def pack_with(self, entry: asyncpg.Record) -> Pack:
        """Return the pack that an entry is in."""
        return next(pack for pack in self.packs if pack.before.xid <= entry["xid"] < pack.xid_to)


def _is(position: Position, entry: asyncpg.Record) -> bool:
    return (position.record_id, position.seq) == (entry["record_id"].bytes, entry["seq"])


def _changed(entry: asyncpg.Record, chance: random.Random) -> str:
    """Return an entry's body with something changed that leaves it JSON."""
    body: str = entry["body"]
    ways = [
        body.replace("𝄞", "𝄢"),
        body.replace('"data":{', '"data": {'),
        body[:-1] + ',"more":1}',
        body.replace('"stage"', '"stagf"'),
        body + " ",
    ]
    return chance.choice([way for way in ways if way != body])


# -- single columns ---------------------------------------------------------------------------------------------------


async def body(on: Target) -> None:
    entry = on.entry()
    await on.set_body(entry, _changed(entry, on.chance), rehash=False)


async def body_and_hash(on: Target) -> None:
    entry = on.entry()
    await on.set_body(entry, _changed(entry, on.chance), rehash=True)


async def body_hash_and_position(on: Target) -> None:
    entry = on.entry()
    digest = await on.set_body(entry, _changed(entry, on.chance), rehash=True)
    await on.repack(
        on.pack_with(entry).first_leaf,
        lambda all_: [p._replace(entry_hash=digest) if _is(p, entry) else p for p in all_],
    )


async def entry_hash(on: Target) -> None:
    await on.set(on.entry(), "entry_hash", on.chance.randbytes(32))


async def kind(on: Target) -> None:
    entry = on.entry()
    kinds = {*(e["kind"] for e in on.entries), "", f"{entry['kind']} ", "no such kind"} - {entry["kind"]}
    await on.set(entry, "kind", on.chance.choice(sorted(kinds)))


async def entry_id(on: Target) -> None:
    await on.set(on.entry(), "entry_id", uuid4())


async def schema_version(on: Target) -> None:
    await on.set(on.entry(), "schema_version", on.chance.choice([0, 2, -1]))


async def recorded_at(on: Target) -> None:
    entry = on.entry()
    shift = timedelta(microseconds=on.chance.choice([1, -1, 10**6, -(10**6), 3600 * 10**6]))
    await on.set(entry, "recorded_at", entry["recorded_at"] + shift)


async def recorded_at_before_christ(on: Target) -> None:
    entry = on.entry()
    await on.run("set_recorded_at_before_christ", entry["record_id"], entry["seq"])


async def seq(on: Target) -> None:
    entry = on.entry()
    await on.set(entry, "seq", on.chance.choice([entry["seq"] + 1, entry["seq"] + 100, -1]))


async def record_id(on: Target) -> None:
    await on.set(on.entry(), "record_id", on.chance.choice([uuid4(), on.entry()["record_id"], UUID(int=0)]))
    # Its own id again would be no change.
    await entry_id(on)


async def xid(on: Target) -> None:
    entry = on.entry()
    others = sorted({e["xid"] for e in on.entries} - {entry["xid"]})
    await on.set(entry, "xid", on.chance.choice([*others, entry["xid"] + 1, entry["xid"] - 1, 1, 2**62, 2**64 - 1]))


async def xid_and_position(on: Target) -> None:
    """No entry passes another, and the tree stays what it was: only the digest of positions tells."""
    possible = []
    for pack in on.packs:
        least = pack.before.xid
        for place, position in enumerate(pack):
            possible += [(pack, place, moved) for moved in range(least, position.xid)][-1:]
            least = position.xid + 1
    pack, place, moved = on.chance.choice(possible)
    await on.set(next(entry for entry in on.entries if _is(list(pack)[place], entry)), "xid", moved)
    await on.repack(
        pack.first_leaf,
        lambda all_: [p._replace(xid=moved) if n == place else p for n, p in enumerate(all_)],
    )


# -- rows -------------------------------------------------------------------------------------------------------------


async def delete(on: Target) -> None:
    entry = on.entry()
    await on.run("delete_entry", entry["record_id"], entry["seq"])


async def delete_last(on: Target) -> None:
    last = on.chain(on.entry()["record_id"])[-1]
    await on.run("delete_entry", last["record_id"], last["seq"])


async def delete_record(on: Target) -> None:
    await on.run("delete_record", on.entry()["record_id"])


async def delete_record_and_positions(on: Target) -> None:
    gone = on.entry()["record_id"]
    await on.run("delete_record", gone)
    for pack in on.packs:
        if all(position.record_id == gone.bytes for position in pack):
            await on.run("delete_pack", pack.first_leaf)
        else:
            await on.repack(pack.first_leaf, lambda all_: [p for p in all_ if p.record_id != gone.bytes])


async def insert_a_record(on: Target) -> None:
    """A record of its own that contradicts nothing, under a transaction of long ago."""
    when = on.entry()
    made = ChainWriter(uuid4()).add("received", {}, when["recorded_at"])
    await on.insert({**dict(when), **made._asdict(), "entry_hash": made.hash})


async def insert_after_the_end(on: Target) -> None:
    """A chain carried on, under a transaction of long ago."""
    last = on.chain(on.entry()["record_id"])[-1]
    writer = ChainWriter(last["record_id"], _head(last))
    made = writer.add("late_result", {}, last["recorded_at"])
    await on.insert({**dict(last), **made._asdict(), "entry_hash": made.hash, "xid": on.entry()["xid"]})


def _head(entry: asyncpg.Record) -> ChainHead:
    return ChainHead(entry["seq"], entry["entry_hash"].hex())


async def insert_a_copy(on: Target) -> None:
    await on.insert({**dict(on.entry()), "xid": on.entry()["xid"]})


async def insert_with_position(on: Target) -> None:
    when = on.entry()
    made = ChainWriter(uuid4()).add("received", {}, when["recorded_at"])
    await on.insert({**dict(when), **made._asdict(), "entry_hash": made.hash})
    added = Position(made.record_id.bytes, 0, when["xid"], made.hash)
    await on.repack(
        on.pack_with(when).first_leaf,
        lambda all_: sorted([*all_, added], key=lambda p: (p.xid, p.record_id, p.seq)),
    )


# -- order and identity -----------------------------------------------------------------------------------------------


async def swap_transactions(on: Target) -> None:
    one = on.entry()
    other = on.chance.choice([e for e in on.entries if e["xid"] != one["xid"]])
    await on.set(one, "xid", other["xid"])
    await on.set(other, "xid", one["xid"])


async def swap_positions_in_a_record(on: Target) -> None:
    """Two entries of one record change places, with all that they say but their place."""
    one, other, *_ = on.chance.sample(on.chain(on.entry()["record_id"]), 2)
    await on.set_body(one, other["body"], rehash=True)
    await on.set_body(other, one["body"], rehash=True)


async def swap_ids(on: Target) -> None:
    one = on.entry()["record_id"]
    other = on.chance.choice([e["record_id"] for e in on.entries if e["record_id"] != one])
    chains = on.chain(one), on.chain(other)
    for entries, new in zip(chains, (uuid4(), one), strict=True):
        for entry in entries:
            await on.set(entry, "record_id", new)
    # The first chain is under an id of nobody now; the second has its id, which is enough to be wrong.


async def swap_two_entries_and_positions(on: Target) -> None:
    """The tree's order changed, entries and positions agreeing."""
    pack = on.chance.choice([pack for pack in on.packs if len({p.xid for p in pack}) > 1])
    all_ = list(pack)
    one = on.chance.choice(all_)
    other = on.chance.choice([p for p in all_ if p.xid != one.xid])
    for entry in on.entries:
        if _is(Position(*one), entry):
            await on.set(entry, "xid", other.xid)
        elif _is(Position(*other), entry):
            await on.set(entry, "xid", one.xid)
    exchanged = {one: one._replace(xid=other.xid), other: other._replace(xid=one.xid)}
    await on.repack(
        pack.first_leaf,
        lambda found: sorted((exchanged.get(p, p) for p in found), key=lambda p: (p.xid, p.record_id, p.seq)),
    )


# -- positions --------------------------------------------------------------------------------------------------------


async def pack_hashes(on: Target) -> None:
    pack = on.chance.choice(on.packs)
    at = on.chance.randrange(pack.count)
    await on.repack(
        pack.first_leaf,
        lambda all_: [p._replace(entry_hash=on.chance.randbytes(32)) if n == at else p for n, p in enumerate(all_)],
    )


async def pack_bounds(on: Target) -> None:
    pack = on.chance.choice(on.packs)
    column, value = on.chance.choice(
        [("xid_to", pack.xid_to + 1), ("xid_to", pack.xid_to + 2**40), ("xid_from", pack.before.xid + 1)]
    )
    await on.run("set_pack", pack.first_leaf, value, column=column)


async def pack_number(on: Target) -> None:
    pack = on.chance.choice(on.packs)
    await on.run("set_pack", pack.first_leaf, pack.first_leaf + on.chance.choice([-1, 1, 10**6]), column="first_leaf")


async def pack_before(on: Target) -> None:
    pack = on.chance.choice(on.packs[1:])
    tree = bytearray(pack.before.tree.to_bytes())
    tree[on.chance.randrange(len(tree))] ^= 1
    column, value = on.chance.choice(
        [("tree", bytes(tree)), ("tree", bytes(tree[:-1])), ("positions", on.chance.randbytes(32))]
    )
    await on.run("set_pack", pack.first_leaf, value, column=column)


async def pack_cut(on: Target) -> None:
    pack = on.chance.choice(on.packs)
    column = on.chance.choice(["record_ids", "seqs", "xids", "hashes"])
    await on.run("set_pack", pack.first_leaf, getattr(pack, column)[:-4], column=column)


async def delete_pack(on: Target) -> None:
    await on.run("delete_pack", on.chance.choice(on.packs).first_leaf)


async def delete_last_pack_and_its_entries(on: Target) -> None:
    """The record as it was some time ago."""
    pack = on.packs[-1]
    await on.run("delete_pack", pack.first_leaf)
    for position in pack:
        await on.run("delete_entry", UUID(bytes=position.record_id), position.seq)


async def history_rewritten(on: Target) -> None:
    """Everything made anew around a changed entry: its chain, positions, trees and digests of all packs agree."""
    changed = await _rewritten_chain(on)
    log = on.packs[0].before
    for pack in on.packs:
        positions = [p._replace(entry_hash=changed.get((p.record_id, p.seq), p.entry_hash)) for p in pack]
        rewritten = Pack.of(log, positions, pack.xid_to)
        await on.run("set_pack", pack.first_leaf, rewritten.hashes, column="hashes")
        await on.run("set_pack", pack.first_leaf, log.tree.to_bytes(), column="tree")
        await on.run("set_pack", pack.first_leaf, log.positions, column="positions")
        log = rewritten.after()


async def _rewritten_chain(on: Target) -> dict[tuple[bytes, int], bytes]:
    """Change an entry and what follows it in its record; return their new hashes."""
    entry = on.entry()
    changed: dict[tuple[bytes, int], bytes] = {}
    before, body = entry, _changed(entry, on.chance)
    for entry in on.chain(before["record_id"])[before["seq"] :]:
        if entry["seq"] > before["seq"]:
            new = changed[before["record_id"].bytes, before["seq"]]
            body = entry["body"].replace(before["entry_hash"].hex(), new.hex())
        changed[entry["record_id"].bytes, entry["seq"]] = await on.set_body(entry, body, rehash=True)
        before = entry
    return changed


Tamper = Callable[[Target], Awaitable[None]]
TAMPERS: Final[Sequence[Tamper]] = (
    *(body, body_and_hash, body_hash_and_position, entry_hash, kind, entry_id, schema_version),
    *(recorded_at, recorded_at_before_christ, seq, record_id, xid, xid_and_position),
    *(delete, delete_last, delete_record, delete_record_and_positions),
    *(insert_a_record, insert_after_the_end, insert_a_copy, insert_with_position),
    *(swap_transactions, swap_positions_in_a_record, swap_ids, swap_two_entries_and_positions),
    *(pack_hashes, pack_bounds, pack_number, pack_before, pack_cut, delete_pack, delete_last_pack_and_its_entries),
    history_rewritten,
)
