-- name: lock
-- Held until the transaction ends, however it ends.
SELECT pg_advisory_xact_lock(1);

-- name: another
-- Any statement that a session has not prepared yet.
SELECT $1::integer;
