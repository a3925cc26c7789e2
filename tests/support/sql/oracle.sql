-- name: snapshot
-- What follows in the transaction sees one moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: records_of
-- The records of a tenant, told by their first entry.
SELECT e.record_id FROM record.entry e WHERE e.seq = 0 AND e.body #>> '{data,tenant}' = $1 ORDER BY e.record_id;

-- name: claims
-- Every claim of a paid call, whoever's, and its record.
SELECT e.entry_id, e.record_id FROM record.entry e WHERE e.kind = 'attempt_started';

-- name: left_over
-- What says that some of these records are not done: open, held, or with something put aside.
SELECT 'open' AS state, o.record_id FROM record.open_record o WHERE o.record_id = ANY ($1::uuid[])
UNION ALL SELECT 'held', h.record_id FROM record.held h WHERE h.record_id = ANY ($1::uuid[])
UNION ALL SELECT 'aside', a.record_id FROM record.aside a WHERE a.record_id = ANY ($1::uuid[]);

-- name: owners
-- Which record answers for each of these keys of a tenant.
SELECT i.key_hmac, i.record_id FROM record.idempotency i WHERE i.tenant = $1 AND i.key_hmac = ANY ($2::bytea[]);

-- name: keyless
-- Records without a content key.
SELECT r.record_id FROM unnest($1::uuid[]) AS r (record_id)
WHERE NOT EXISTS (SELECT FROM keyring.record_key k WHERE k.record_id = r.record_id);

-- name: orphan_keys
-- Content keys of which no record was made, older than the hour that a crash at intake may leave them lying.
SELECT k.record_id FROM keyring.record_key k
WHERE NOT EXISTS (SELECT FROM record.entry e WHERE e.record_id = k.record_id AND e.seq = 0)
  AND record.uuid7_time(k.record_id) < now() - interval '1 hour';

-- name: request_facts
-- The wide rows of some records.
SELECT r.* FROM facts.request r WHERE r.record_id = ANY ($1::uuid[]);

-- name: attempt_facts
-- The rows of their paid calls.
SELECT a.* FROM facts.attempt a WHERE a.record_id = ANY ($1::uuid[]) ORDER BY a.record_id, a.seq;
