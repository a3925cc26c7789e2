-- name: explain
-- Whether a statement may be made is checked before it is planned to the end: nothing runs, no parameter is needed.
EXPLAIN (GENERIC_PLAN) {statement}

-- name: select
SELECT FROM {table} LIMIT 1;

-- name: insert
INSERT INTO {table} DEFAULT VALUES;

-- name: copy
COPY {table} FROM STDIN;

-- name: update
UPDATE {table} SET {column} = {column};

-- name: delete
DELETE FROM {table};

-- name: truncate
TRUNCATE {table};

-- name: merge
MERGE INTO {table} AS t USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE;

-- name: drop
DROP TABLE {table} CASCADE;

-- name: drop_trigger
DROP TRIGGER refuse_change ON {table};

-- name: disable_trigger
ALTER TABLE {table} DISABLE TRIGGER refuse_change;

-- name: create_trigger
CREATE TRIGGER another BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION record.refuse_change();

-- name: add_column
ALTER TABLE {table} ADD COLUMN another text;

-- name: change_owner
ALTER TABLE {table} OWNER TO CURRENT_USER;

-- name: change_owner_of_function
ALTER FUNCTION record.append OWNER TO CURRENT_USER;

-- name: create_table
CREATE TABLE {schema}.another (id integer);

-- name: create_function
CREATE FUNCTION {schema}.another() RETURNS integer LANGUAGE sql AS 'SELECT 1';

-- name: create_schema
CREATE SCHEMA another;

-- name: as_replica
SET session_replication_role = replica;

-- name: as_owner
SET ROLE waybill_owner;

-- name: grant_owner
GRANT waybill_owner TO CURRENT_USER;

-- name: create_role
CREATE ROLE another;

-- name: protect
SELECT record.protect('record.entry');

-- name: ensure_partitions
SELECT record.ensure_partitions($1::date, 2);

-- name: default_partition_used
SELECT record.default_partition_used();

-- name: set_verdict
SELECT record.set_verdict(gen_random_uuid(), 0, 'retry');

-- name: ask
SELECT vault.ask(gen_random_uuid(), 'a reason');

-- name: ask_for
SELECT vault.ask_for(gen_random_uuid(), 'a reason', 'redacted');

-- name: hand_out
SELECT FROM vault.hand_out(gen_random_uuid(), gen_random_uuid());

-- name: record_key_of
SELECT FROM keyring.record_key_of(gen_random_uuid());

-- name: tenant_key_of
SELECT FROM keyring.tenant_key_of('acme');

-- name: count
SELECT count(*) FROM {table};

-- name: copy_to
COPY {table} TO STDOUT;

-- name: note_access
-- A row that only the owner could write like this.
INSERT INTO record.access_log (access_id, record_id, entry_id, kind, reason, asked_at)
VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'job', 'a reason', now());

-- name: relations_but_facts
-- Every table and view of the project outside the schema of facts; partitions too.
SELECT c.oid::regclass::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('migration', 'record', 'vault', 'keyring') AND c.relkind IN ('r', 'p', 'v', 'm')
ORDER BY 1;

-- name: callable
-- Which functions of the project whoever asks may call.
SELECT n.nspname || '.' || p.proname AS name
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring')
    AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
ORDER BY 1;

-- name: append_nothing
SELECT FROM record.append('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');

-- name: overwrite_verdict
UPDATE record.held SET verdict = 'retry';

-- name: overwrite_actor
UPDATE record.held SET actor = 'somebody';

-- name: hold
-- A record that waits.
INSERT INTO record.held (record_id, seq, tenant, reason, deadline) VALUES ($1, 3, 'acme', 'in_doubt', now());

-- name: verdict
SELECT verdict, actor FROM record.held WHERE record_id = $1;

-- name: shadow
-- Objects of a session's own, named like what a careless function would find by its search path.
CREATE DOMAIN pg_temp.json AS pg_catalog.json CHECK (false);
CREATE DOMAIN pg_temp.regclass AS pg_catalog.regclass CHECK (false);
CREATE TEMPORARY TABLE pg_trigger AS SELECT * FROM pg_catalog.pg_trigger;

-- name: foreign_owners
-- Schemas, relations, functions and types that do not belong to the owner.
SELECT 'schema ' || n.nspname FROM pg_namespace n
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND n.nspowner <> 'waybill_owner'::regrole
UNION ALL
SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND c.relowner <> 'waybill_owner'::regrole
UNION ALL
SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND p.proowner <> 'waybill_owner'::regrole
UNION ALL
SELECT 'type ' || t.oid::regtype FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND t.typowner <> 'waybill_owner'::regrole;

-- name: public_rights
-- What everybody may do in our schemas; types are left out, for they hold nothing.
SELECT format('%s %s', a.privilege_type, n.nspname) FROM pg_namespace n, aclexplode(n.nspacl) AS a
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND a.grantee = 0
UNION ALL
SELECT format('%s %s', a.privilege_type, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND a.grantee = 0
UNION ALL
SELECT format('%s %s', a.privilege_type, p.oid::regprocedure)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND a.grantee = 0;

-- name: rights_on_partitions
-- What anybody but the owner may do with a partition directly, columns included; analysts may read facts.
SELECT format('%s %s %s', a.grantee::regrole, a.privilege_type, c.oid::regclass)
FROM pg_class c, aclexplode(c.relacl) AS a
WHERE c.relispartition AND c.relkind = 'r' AND a.grantee <> c.relowner
    AND NOT (a.grantee = 'analyst'::regrole AND a.privilege_type = 'SELECT' AND c.relnamespace = 'facts'::regnamespace)
UNION ALL
SELECT format('%s %s %s.%s', a.grantee::regrole, a.privilege_type, c.oid::regclass, t.attname)
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) AS a
WHERE c.relispartition AND a.grantee <> c.relowner;

-- name: unpinned
-- Functions with their owner's rights whose search path a caller could put something into.
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND p.prosecdef
    AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(p.proconfig, '{}'));

-- name: with_owners_rights
SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('migration', 'record', 'facts', 'vault', 'keyring') AND p.prosecdef ORDER BY 1;

-- name: ask_erasure
SELECT record.ask_erasure(gen_random_uuid(), '{}', 'why');

-- name: ask_erasure_of_subject
SELECT record.ask_erasure_of_subject(gen_random_uuid(), 'acme', '\x00', 'why', now(), now());

-- name: list_erasure
SELECT record.erase(gen_random_uuid(), '{}', 'record', 'why', 'somebody else');

-- name: sealed_before
SELECT record.sealed_before(now(), gen_random_uuid(), now(), 1);

-- name: erasures
SELECT record_id, cause, reason, actor FROM record.erasure;
