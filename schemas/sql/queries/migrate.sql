-- name: standing
-- Whether roles.sql has been run in this database, and whether this login may act as the owner.
SELECT owner.oid IS NOT NULL AND groups.found = 6 AND has_database_privilege(owner.oid, current_database(), 'CREATE') AS prepared,
       owner.oid IS NOT NULL AND pg_has_role(owner.oid, 'SET') AS may_act,
       session_user AS login
FROM (SELECT (SELECT r.oid FROM pg_roles r WHERE r.rolname = 'waybill_owner') AS oid) AS owner,
     (SELECT count(*) AS found FROM pg_roles r
      WHERE r.rolname IN ('waybill_classifier', 'waybill_router', 'waybill_executor', 'waybill_recorder', 'waybill_oncall', 'analyst')) AS groups;

-- name: join_owner
-- Whoever made the owner may grant it, and has to before acting as it; in two databases at once, the first one did.
DO $$ BEGIN
    GRANT waybill_owner TO SESSION_USER;
EXCEPTION WHEN unique_violation THEN
    RAISE NOTICE 'granted already';
END $$;

-- name: act_as_owner
-- Until the transaction ends: nothing is to belong to a login, or to a superuser.
SET LOCAL ROLE waybill_owner;

-- name: create_history
-- Which migrations this database has seen.
CREATE SCHEMA IF NOT EXISTS migration;
CREATE TABLE IF NOT EXISTS migration.applied (
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
SELECT version, digest FROM migration.applied ORDER BY version;

-- name: is_applied
-- Whether somebody else applied it while we waited for the lock.
SELECT EXISTS (SELECT FROM migration.applied WHERE version = $1);

-- name: record
-- Remember a migration.
INSERT INTO migration.applied (version, name, digest) VALUES ($1, $2, $3);

-- name: ensure_partitions
-- Make the coming months' partitions.
SELECT record.ensure_partitions($1::date, $2::integer);

-- name: default_partition_rows
-- Whether a row fell into a default partition, which means that a month's partition was missing.
SELECT record.default_partition_used();
