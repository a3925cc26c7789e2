-- name: transitions
SELECT after, kind FROM record.transition;

-- name: texts
-- The bodies as they stand, and whether the database finds the same hash and the same copies.
SELECT body::text AS body,
       entry_hash = sha256('\x00'::bytea || convert_to(body::text, 'UTF8')) AS hash_verifies,
       (record_id::text, seq, entry_id::text, kind, schema_version)
           = (body ->> 'record_id', (body ->> 'seq')::int, body ->> 'entry_id', body ->> 'kind', (body ->> 'schema_version')::int)
           AND recorded_at = (body ->> 'recorded_at')::timestamptz AS copies_agree
FROM record.entry WHERE record_id = $1 ORDER BY seq;

-- name: scans
-- How often each kind of access was used on the partitions of entries. Counters are the session's own, flushed first.
SELECT sum(s.seq_scan)::bigint AS seq_scans, sum(s.idx_scan)::bigint AS index_scans
FROM pg_stat_user_tables s WHERE s.schemaname = 'record' AND s.relname LIKE 'entry\_%';

-- name: flush_counters
SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot();

-- name: many
-- So many one-entry records; their bodies and hashes do not matter.
INSERT INTO record.entry (record_id, seq, entry_id, kind, schema_version, body, entry_hash, recorded_at)
SELECT uuidv7(), 0, gen_random_uuid(), 'received', 1, '{}', sha256(i::text::bytea), now() FROM generate_series(1, $1) AS i;

-- name: analyze
ANALYZE record.entry;

-- name: count
SELECT count(*) FROM record.entry;

-- name: waiting_for_others
-- How many of these backends wait for a lock now.
SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1::integer[]) AND wait_event_type = 'Lock';
