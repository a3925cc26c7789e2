-- name: cancel_records
-- What `waybill cancel ID` does: every stage sees it before its next step. A record that has ended is left alone; so
-- is an earlier cancel. There is no index by record, for it would be paid for with every job: this reads the keys of
-- thirty days, once, for a person.
UPDATE record.idempotency i SET cancelled_at = now()
WHERE i.record_id = ANY ($1::uuid[]) AND i.cancelled_at IS NULL
    AND NOT EXISTS (SELECT FROM record.entry e WHERE e.record_id = i.record_id AND e.kind = 'sealed')
RETURNING i.record_id;

-- name: states
-- How records stand that could not be cancelled just now.
SELECT wanted.record_id,
    CASE
        WHEN NOT EXISTS (SELECT FROM record.entry e WHERE e.record_id = wanted.record_id AND e.seq = 0) THEN 'unknown'
        WHEN EXISTS (SELECT FROM record.entry e WHERE e.record_id = wanted.record_id AND e.kind = 'sealed') THEN 'sealed'
        WHEN EXISTS (
            SELECT FROM record.idempotency i WHERE i.record_id = wanted.record_id AND i.cancelled_at IS NOT NULL
        ) THEN 'cancelled_before'
        ELSE 'superseded'
    END AS state
FROM unnest($1::uuid[]) AS wanted (record_id);
