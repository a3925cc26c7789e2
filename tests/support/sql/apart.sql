-- name: records
-- A tenant's records, oldest first, with what their job was rejected for.
SELECT e.record_id, e.body -> 'data' -> 'error' ->> 'code' AS code
FROM record.entry e
WHERE e.seq = 0 AND e.body -> 'data' ->> 'tenant' = $1
ORDER BY e.record_id;

-- name: cancelled
-- How many of a tenant's keys were cancelled.
SELECT count(*) FROM record.idempotency i WHERE i.tenant = $1 AND i.cancelled_at IS NOT NULL;

-- name: kinds
-- The entries of a record.
SELECT e.kind FROM record.entry e WHERE e.record_id = $1 ORDER BY e.seq;

-- name: verdicts
-- What was thought of a record's answer.
SELECT f.tenant, f.verdict FROM facts.feedback f WHERE f.record_id = $1 ORDER BY f.seq;
