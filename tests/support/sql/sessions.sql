-- name: lock
-- Held until the transaction ends, however it ends.
SELECT pg_advisory_xact_lock(1);

-- name: another
-- Any statement that a session has not prepared yet.
SELECT $1::integer;

-- name: end_those_of
-- Those that a service has in this database, and how many there were.
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database();
