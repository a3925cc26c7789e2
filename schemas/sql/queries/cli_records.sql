-- name: select_records
-- Sealed records by how they ended; the partition key bounds the search where a time is given.
SELECT r.record_id, r.received_at, r.sealed_at, r.tenant, r.status, r.error_code, r.provider, r.model, r.region,
       r.attempts, r.cost_usd, r.replay_of
FROM facts.request r
WHERE ($1::text IS NULL OR r.status = $1)
  AND ($2::text IS NULL OR r.error_code = $2)
  AND ($3::text IS NULL OR EXISTS (
        SELECT FROM facts.attempt a
        WHERE a.record_id = r.record_id AND a.received_at = r.received_at AND a.failure_class = $3))
  AND ($4::text IS NULL OR r.tenant = $4)
  AND ($5::text IS NULL OR r.provider || '/' || r.model = $5)
  AND ($6::timestamptz IS NULL OR r.sealed_at >= $6)
ORDER BY r.received_at DESC, r.record_id DESC
LIMIT $7;

-- name: record_of_key
-- Which record answers for an idempotency key.
SELECT record_id FROM record.idempotency WHERE tenant = $1 AND key_hmac = $2;

-- name: replays_of
-- The records that run this one again.
SELECT r.record_id, r.status FROM facts.request r WHERE r.replay_of = $1 ORDER BY r.received_at;

-- name: in_flight
-- Records without an acknowledged result, oldest first.
SELECT f.record_id, f.received_at, f.tenant, f.last_kind, f.held_reason
FROM facts.in_flight f
WHERE ($1::text IS NULL OR f.tenant = $1)
ORDER BY f.received_at
LIMIT $2;

-- name: held
-- What waits for a person or for its time.
SELECT h.record_id, h.seq, h.tenant, h.reason, h.held_at, h.due, h.deadline, h.verdict, h.actor
FROM record.held h ORDER BY h.held_at LIMIT $1;

-- name: correct_cost
-- An amount to add to what a call is known to have cost; once for each reference.
SELECT record.correct_cost($1, $2, $3, $4);

-- name: set_verdict
-- A verdict names the hold that was looked at, so that it never lands on a later one. The actor is the database login.
SELECT v.record_id FROM record.set_verdict($1, $2, $3) AS v (record_id);
