-- name: refuse_connections
-- The test's database goes away, for everybody.
ALTER DATABASE {name} ALLOW_CONNECTIONS false;

-- name: end_sessions
-- Without a word to those who are connected.
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid();

-- name: take_connections
-- And is back.
ALTER DATABASE {name} ALLOW_CONNECTIONS true;

-- name: outputs
-- What the vault has of a record's answers.
SELECT entry_id, ciphertext FROM vault.content WHERE record_id = $1 AND kind = 'output';

-- name: asides
-- What lies aside for a record.
SELECT kind, data FROM record.aside WHERE record_id = $1;

-- name: claims
-- How many calls have been claimed.
SELECT count(*) FROM record.entry WHERE kind = 'attempt_started';

-- name: held_rows
-- How many rows hold a record.
SELECT count(*) FROM record.held WHERE record_id = $1;
