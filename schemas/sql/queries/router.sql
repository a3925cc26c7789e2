-- name: cancelled
-- Which of these records were cancelled; a partial index holds only those.
SELECT record_id FROM record.idempotency WHERE record_id = ANY ($1::uuid[]) AND cancelled_at IS NOT NULL;

-- name: lock_due
-- Held records that may go on or end, each with why; a person's verdict counts before everything else.
SELECT h.record_id, h.seq, h.actor,
       CASE WHEN h.verdict IS NOT NULL THEN h.verdict
            WHEN c.cancelled THEN 'cancelled'
            WHEN c.erased THEN 'erased'
            WHEN h.deadline <= now() THEN 'expired'
            ELSE 'due'
       END AS cause
FROM record.held h
-- Several keys may lead to one record: a replay has its own, and the original's.
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM record.idempotency i WHERE i.record_id = h.record_id AND i.cancelled_at IS NOT NULL
    ) AS cancelled, EXISTS (SELECT FROM record.erasure e WHERE e.record_id = h.record_id) AS erased
) AS c
WHERE h.verdict IS NOT NULL OR h.due <= now() OR h.deadline <= now() OR c.cancelled OR c.erased
ORDER BY h.held_at
LIMIT $1
FOR UPDATE OF h SKIP LOCKED;

-- name: delete_held
-- In the transaction that appends `released`.
DELETE FROM record.held WHERE record_id = ANY ($1::uuid[]);
