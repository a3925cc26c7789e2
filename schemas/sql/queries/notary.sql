-- name: system
-- Which cluster this is: a backup restored by initdb and reload is another one.
SELECT system_identifier FROM pg_control_system();

-- name: elect
-- Only one notary works at a time, to spare the others vain work; what fences them is the key of the packs. The settings
-- make the next statement walk the index in order, however much lies behind it: a backlog is not sorted for each pack.
SELECT pg_try_advisory_xact_lock(727002)
FROM (SELECT set_config(name, 'off', true) FROM unnest('{enable_seqscan,enable_bitmapscan,enable_sort}'::text[]) AS name) AS planner
LIMIT 1;

-- name: packs_since
-- The pack that a tree of this size ends with, and those after it.
SELECT p.first_leaf, p.xid_from, p.xid_to, p.record_ids, p.seqs, p.xids, p.hashes, p.tree, p.positions
FROM record.leaf_pack p
WHERE p.first_leaf >= coalesce((SELECT max(b.first_leaf) FROM record.leaf_pack b WHERE b.first_leaf < $1), 0)
ORDER BY p.first_leaf;

-- name: unplaced
-- Entries of transactions that had ended before every running one began, in order; whole transactions, at least $2
-- entries if there are as many. The horizon and the rows are of one snapshot.
SELECT uuid_send(e.record_id) AS record_id, e.seq, e.xid, e.entry_hash, pg_snapshot_xmin(pg_current_snapshot()) AS horizon
FROM (
    SELECT x.record_id, x.seq, x.xid, x.entry_hash FROM record.entry x
    WHERE x.xid >= $1 AND x.xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY x.xid
    FETCH FIRST ($2::integer) ROWS WITH TIES
) AS e
ORDER BY e.xid, e.record_id, e.seq;

-- name: insert_pack
-- Fails where another notary has given these positions already.
INSERT INTO record.leaf_pack (first_leaf, xid_from, xid_to, record_ids, seqs, xids, hashes, tree, positions)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: unproven_for
-- Seconds since the oldest entry was recorded that a tree of this size, or of all packs, does not cover; null if none.
SELECT greatest(0, extract(epoch FROM clock_timestamp() - e.recorded_at))::float8 FROM record.entry e
WHERE e.xid >= coalesce((
    SELECT p.xid_to FROM record.leaf_pack p WHERE $1::bigint IS NULL OR p.first_leaf < $1
    ORDER BY p.first_leaf DESC LIMIT 1
), '0'::xid8)
ORDER BY e.xid
LIMIT 1;
