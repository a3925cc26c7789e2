-- name: ask
-- Asks for the erasure of records and of their families.
SELECT e.record_id, e.state FROM record.ask_erasure($1::uuid, $2::uuid[], $3) AS e (record_id, state);

-- name: ask_subject
-- Refuses a subject from now on, and asks for the erasure of its records.
SELECT e.record_id, e.state FROM record.ask_erasure_of_subject($1::uuid, $2, $3, $4, $5, $6) AS e (record_id, state);

-- name: subject_before
-- Whether a subject was erased before.
SELECT erased_at, refuse_until FROM record.erased_subject WHERE tenant = $1 AND subject_hmac = $2;

-- name: records_of_subject
-- The records of a subject that are known now.
SELECT record_id FROM record.subject WHERE tenant = $1 AND subject_hmac = $2;

-- name: preview
-- How the records given and their families stand.
SELECT f.record_id,
       CASE WHEN e.record_id IS NULL THEN 'unknown'
            WHEN o.done_at IS NOT NULL THEN 'erased_before'
            WHEN o.record_id IS NOT NULL THEN 'under_way'
            ELSE 'would_be_erased'
       END AS state
FROM record.family($1::uuid[]) AS f
LEFT JOIN record.entry e ON e.record_id = f.record_id AND e.seq = 0
LEFT JOIN record.erasure o ON o.record_id = f.record_id
ORDER BY f.record_id;

-- name: found
-- Whether the records of all subjects of a request have been looked for.
SELECT NOT EXISTS (SELECT FROM record.erased_subject WHERE request = $1);

-- name: left
-- How many records of a request are not erased yet, and subjects not looked for.
SELECT (SELECT count(*) FROM record.erasure WHERE request = $1 AND done_at IS NULL)
    + (SELECT count(*) FROM record.erased_subject WHERE request = $1);

-- name: progress
-- How far the records of a request are, with those named that others had asked for.
SELECT record_id, CASE WHEN done_at IS NOT NULL THEN 'erased' ELSE 'under_way' END AS state, done_at
FROM record.erasure WHERE request = $1 OR record_id = ANY ($2::uuid[])
ORDER BY record_id;
