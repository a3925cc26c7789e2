-- name: store
-- Content of entries that were inserted in this transaction. A late answer of a claim already answered adds nothing.
INSERT INTO vault.content (record_id, entry_id, kind, ciphertext)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[])
ON CONFLICT DO NOTHING;

-- name: load
-- Content by its full key.
SELECT c.record_id, c.entry_id, c.kind, c.ciphertext
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS wanted (record_id, entry_id, kind)
JOIN vault.content c USING (record_id, entry_id, kind);
