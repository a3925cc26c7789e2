-- name: tenant_of
-- Whose a record is.
SELECT e.body -> 'data' ->> 'tenant' FROM record.entry e WHERE e.record_id = $1 AND e.seq = 0;
