-- name: store
-- Content of entries that were inserted in this transaction, before this statement: what an erasure was asked for is seen
-- only by a transaction that has written. A late answer of a claim already answered adds nothing.
INSERT INTO vault.content (record_id, entry_id, kind, ciphertext)
SELECT c.record_id, c.entry_id, c.kind, c.ciphertext
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[]) AS c (record_id, entry_id, kind, ciphertext)
WHERE c.record_id IN (SELECT k.record_id FROM record.keepable($1::uuid[]) AS k)
ON CONFLICT DO NOTHING;

-- name: load
-- Content by its full key; what is being erased is gone already.
SELECT c.record_id, c.entry_id, c.kind, c.ciphertext
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS wanted (record_id, entry_id, kind)
JOIN vault.content c USING (record_id, entry_id, kind)
WHERE NOT EXISTS (SELECT FROM record.erasure e WHERE e.record_id = c.record_id);
