-- name: append
-- Appends chains; returns rows only for records whose chain was not inserted.
SELECT record_id, seq, entry_id, kind, body, entry_hash
FROM record.append($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::bytea[], $8::bytea[], $9::timestamptz[]);

-- name: append_with_content
-- Appends chains, and stores the content of those that went in: one statement, one transaction, one round trip. What is
-- erased is asked about after the append, for only a transaction that has written is waited for by an erasure.
WITH stored AS MATERIALIZED (
    SELECT record_id, seq, entry_id, kind, body, entry_hash
    FROM record.append($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::bytea[], $8::bytea[], $9::timestamptz[])
), fresh AS MATERIALIZED (
    SELECT array_agg(DISTINCT c.record_id) AS ids FROM unnest($10::uuid[]) AS c (record_id)
    WHERE c.record_id NOT IN (SELECT s.record_id FROM stored s)
), kept AS (
    INSERT INTO vault.content (record_id, entry_id, kind, ciphertext)
    SELECT c.record_id, c.entry_id, c.kind, c.ciphertext
    FROM unnest($10::uuid[], $11::uuid[], $12::text[], $13::bytea[]) AS c (record_id, entry_id, kind, ciphertext)
    WHERE c.record_id IN (SELECT k.record_id FROM fresh f CROSS JOIN LATERAL record.keepable(f.ids) AS k)
    ON CONFLICT DO NOTHING
)
SELECT record_id, seq, entry_id, kind, body, entry_hash FROM stored;

-- name: read_chains
-- The whole chains of some records, by the primary key.
SELECT e.record_id, e.seq, e.entry_id, e.kind, e.body, e.entry_hash
FROM unnest($1::uuid[]) AS wanted (record_id)
CROSS JOIN LATERAL (SELECT * FROM record.entry e WHERE e.record_id = wanted.record_id ORDER BY e.seq) AS e
ORDER BY e.record_id, e.seq;
