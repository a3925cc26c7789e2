-- name: packs
-- Positions from a leaf on, some packs at a time.
SELECT p.first_leaf, p.xid_from, p.xid_to, p.record_ids, p.seqs, p.xids, p.hashes, p.tree, p.positions
FROM record.leaf_pack p
WHERE p.first_leaf >= $1
ORDER BY p.first_leaf
LIMIT $2;

-- name: entries
-- All entries of some transactions, in the order of their positions, and their columns as an envelope writes them.
SELECT e.record_id::text, e.seq, e.xid, e.entry_id::text, e.kind, e.schema_version,
       -- Only such times are written by services, and the pattern does not tell years before Christ from those after.
       CASE WHEN e.recorded_at > 'epoch' THEN to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            ELSE e.recorded_at::text END,
       e.entry_hash, convert_to(e.body::text, 'UTF8')
FROM record.entry e
WHERE e.xid >= $1 AND e.xid < $2
ORDER BY e.xid, e.record_id, e.seq;

-- name: next_transactions
-- Where some thousand entries from a transaction on end, and which transaction had not begun yet: past the last position
-- there is no pack to say so.
SELECT max(t.xid) AS last, pg_snapshot_xmax(pg_current_snapshot()) AS unbegun
FROM (
    SELECT e.xid FROM record.entry e WHERE e.xid >= $1 ORDER BY e.xid FETCH FIRST ($2::integer) ROWS WITH TIES
) AS t;

-- name: hashes
-- The hashes of some entries by record and position, in the order asked for; null where there is no such entry. One row
-- for each even where somebody took the primary key away and stored two.
SELECT (SELECT e.entry_hash FROM record.entry e WHERE e.record_id = w.record_id AND e.seq = w.seq LIMIT 1) AS entry_hash
FROM unnest($1::uuid[], $2::integer[]) WITH ORDINALITY AS w (record_id, seq, place)
ORDER BY w.place;

-- name: chain
-- One record with the transactions of its entries.
SELECT e.record_id, e.seq, e.entry_id, e.kind, e.body, e.entry_hash, e.xid
FROM record.entry e WHERE e.record_id = $1 ORDER BY e.seq;

-- name: pack_of_transaction
-- The pack that covers a transaction, if any does.
SELECT p.first_leaf, p.xid_from, p.xid_to, p.record_ids, p.seqs, p.xids, p.hashes, p.tree, p.positions
FROM record.leaf_pack p
WHERE p.xid_from <= $1 AND p.xid_to > $1
ORDER BY p.xid_from DESC
LIMIT 1;

-- name: pack_of_leaf
-- The pack that holds a leaf, or the last one before it.
SELECT p.first_leaf, p.xid_from, p.xid_to, p.record_ids, p.seqs, p.xids, p.hashes, p.tree, p.positions
FROM record.leaf_pack p
WHERE p.first_leaf <= $1
ORDER BY p.first_leaf DESC
LIMIT 1;
