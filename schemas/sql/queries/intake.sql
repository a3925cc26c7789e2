-- name: claim_keys
-- Whoever inserts a key first answers for it; a cancel that came earlier left a row without a record.
-- Keys are sorted and single within the call, so that two callers lock in the same order.
INSERT INTO record.idempotency AS i (tenant, key_hmac, payload_hmac, record_id)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::uuid[])
ON CONFLICT (tenant, key_hmac) DO UPDATE SET record_id = excluded.record_id, payload_hmac = excluded.payload_hmac
    WHERE i.record_id IS NULL
RETURNING i.tenant, i.key_hmac, i.cancelled_at;

-- name: read_keys
-- Who answers for keys that were known: a statement of its own, for the winner may have just committed.
SELECT i.tenant, i.key_hmac, i.payload_hmac, i.record_id
FROM unnest($1::text[], $2::bytea[]) AS wanted (tenant, key_hmac)
JOIN record.idempotency i USING (tenant, key_hmac);

-- name: cancel_keys
-- Remember cancels, whether their job has come or not.
INSERT INTO record.idempotency AS i (tenant, key_hmac, cancelled_at)
SELECT c.tenant, c.key_hmac, now() FROM unnest($1::text[], $2::bytea[]) AS c (tenant, key_hmac)
ON CONFLICT (tenant, key_hmac) DO UPDATE SET cancelled_at = excluded.cancelled_at;

-- name: repoint_keys
-- After a replay the newest record answers for the original's key. A cancel of the original is not one of the replay,
-- unless it came in this very transaction: then nobody can say which of them was meant, and a cancel is the safe side.
UPDATE record.idempotency i
SET record_id = n.record_id, cancelled_at = CASE WHEN i.cancelled_at = now() THEN i.cancelled_at END
FROM unnest($1::text[], $2::bytea[], $3::uuid[], $4::uuid[]) AS n (tenant, key_hmac, replay_of, record_id)
WHERE i.tenant = n.tenant AND i.key_hmac = n.key_hmac AND i.record_id = n.replay_of;

-- name: open_records
-- These records have no acknowledged result yet; the sweeper looks after them.
INSERT INTO record.open_record (record_id, tenant, next_sweep_at)
SELECT o.record_id, o.tenant, now() + $3::interval FROM unnest($1::uuid[], $2::text[]) AS o (record_id, tenant);
