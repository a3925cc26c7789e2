-- name: unlock
-- What a superuser can always do: everything that protects entries and positions is taken away.
DO $$
DECLARE
    v_table regclass;
    v_constraint name;
BEGIN
    FOR v_table IN SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'record' AND c.relkind IN ('r', 'p') AND (c.relname LIKE 'entry%' OR c.relname = 'leaf_pack')
    LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', v_table);
        FOR v_constraint IN SELECT k.conname FROM pg_constraint k
                            WHERE k.conrelid = v_table AND k.coninhcount = 0 AND k.contype IN ('c', 'p', 'u')
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', v_table, v_constraint);
        END LOOP;
    END LOOP;
    DROP INDEX record.entry_late_once;
END $$;

-- name: entries
SELECT e.record_id, e.seq, e.entry_id, e.kind, e.schema_version, e.body::text AS body, e.entry_hash, e.recorded_at, e.xid
FROM record.entry e ORDER BY e.xid, e.record_id, e.seq;

-- name: packs
SELECT p.first_leaf, p.xid_from, p.xid_to, p.record_ids, p.seqs, p.xids, p.hashes, p.tree, p.positions
FROM record.leaf_pack p ORDER BY p.first_leaf;

-- name: set_entry
UPDATE record.entry SET {column} = $3 WHERE record_id = $1 AND seq = $2;

-- name: set_recorded_at_before_christ
UPDATE record.entry SET recorded_at = (to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00 BC')::timestamptz
WHERE record_id = $1 AND seq = $2;

-- name: set_body
UPDATE record.entry SET body = $3::text::json WHERE record_id = $1 AND seq = $2;

-- name: delete_entry
DELETE FROM record.entry WHERE record_id = $1 AND seq = $2;

-- name: delete_record
DELETE FROM record.entry WHERE record_id = $1;

-- name: insert_entry
INSERT INTO record.entry (record_id, seq, entry_id, kind, schema_version, body, entry_hash, recorded_at, xid)
VALUES ($1, $2, $3, $4, $5, $6::text::json, $7, $8, $9);

-- name: set_pack
UPDATE record.leaf_pack SET {column} = $2 WHERE first_leaf = $1;

-- name: delete_pack
DELETE FROM record.leaf_pack WHERE first_leaf = $1;
