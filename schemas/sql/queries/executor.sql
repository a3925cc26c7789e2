-- name: read_jobs
-- The job of each record, and whether it was cancelled. Content erased, or about to be, leaves the ciphertext null.
SELECT wanted.record_id, c.ciphertext,
       EXISTS (SELECT FROM record.idempotency i WHERE i.record_id = wanted.record_id AND i.cancelled_at IS NOT NULL) AS cancelled
FROM unnest($1::uuid[], $2::uuid[]) AS wanted (record_id, entry_id)
LEFT JOIN vault.content c ON c.record_id = wanted.record_id AND c.entry_id = wanted.entry_id AND c.kind = 'job'
    AND NOT EXISTS (SELECT FROM record.erasure e WHERE e.record_id = c.record_id);

-- name: hold
-- The held rows of records whose `held` entry went in in this transaction.
INSERT INTO record.held (record_id, seq, tenant, reason, due, deadline)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[]);

-- name: put_aside
-- What somebody who does not own the record learned; the recorder appends it after the seal.
INSERT INTO record.aside (record_id, entry_id, kind, data) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;
