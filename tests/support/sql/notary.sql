-- name: take_number
-- The transaction has its number from here on.
SELECT pg_current_xact_id();

-- name: age
-- As a superuser: entries of an hour ago.
DO $$ BEGIN
    EXECUTE (SELECT string_agg(format('ALTER TABLE %s DISABLE TRIGGER ALL;', t.relid), ' ') FROM pg_partition_tree('record.entry') t);
    UPDATE record.entry SET recorded_at = recorded_at - interval '1 hour';
END $$;

-- name: packs
-- How often positions were given.
SELECT count(*) FROM record.leaf_pack;

-- name: end_open_transactions
-- What the server does to a session that idles in its transaction for too long.
SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.state = 'idle in transaction' AND a.pid <> pg_backend_pid();
