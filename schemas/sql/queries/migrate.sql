-- name: create_history
-- Which migrations this database has seen.
CREATE TABLE IF NOT EXISTS public.waybill_migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    digest     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: lock
-- Two migrations never run at once; the number is arbitrary and ours.
SELECT pg_advisory_xact_lock(727001);

-- name: timeouts
-- A migration that has to wait for somebody's lock gives up rather than queue everybody behind itself.
SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '120s';

-- name: history
-- What was applied, oldest first.
SELECT version, digest FROM public.waybill_migration ORDER BY version;

-- name: is_applied
-- Whether somebody else applied it while we waited for the lock.
SELECT EXISTS (SELECT FROM public.waybill_migration WHERE version = $1);

-- name: record
-- Remember a migration.
INSERT INTO public.waybill_migration (version, name, digest) VALUES ($1, $2, $3);

-- name: ensure_partitions
-- Make the coming months' partitions.
SELECT record.ensure_partitions($1::date, $2::integer);

-- name: default_partition_rows
-- Whether a row fell into a default partition, which means that a month's partition was missing.
SELECT EXISTS (SELECT FROM record.entry_default) OR EXISTS (SELECT FROM facts.request_default)
    OR EXISTS (SELECT FROM facts.attempt_default) OR EXISTS (SELECT FROM facts.source_default);
