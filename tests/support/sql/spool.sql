-- name: calls
-- How many calls of a tenant's jobs were begun, and how many of them were answered.
SELECT count(*) FILTER (WHERE e.kind = 'attempt_started') AS begun,
       count(*) FILTER (WHERE e.kind = 'attempt_finished') AS answered
FROM record.entry e
WHERE e.record_id IN (SELECT r.record_id FROM record.entry r WHERE r.seq = 0 AND r.body #>> '{data,tenant}' = $1);
