-- name: update
UPDATE {table} SET record_id = record_id;

-- name: delete
DELETE FROM {table};

-- name: truncate
TRUNCATE {table};

-- name: truncate_together
TRUNCATE record.entry, facts.request, facts.attempt, facts.source, facts.feedback CASCADE;

-- name: merge
MERGE INTO {table} AS t USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE;

-- name: upsert
INSERT INTO record.entry SELECT * FROM record.entry ON CONFLICT (record_id, seq) DO UPDATE SET kind = 'sealed';

-- name: as_replica
SET session_replication_role = replica;

-- name: is_superuser
SELECT rolsuper FROM pg_roles WHERE rolname = current_user;

-- name: fill
-- A row in a table of facts, whatever its columns: every one that must not be null gets something.
SELECT format('INSERT INTO %s (%s) VALUES (%s)', $1::text,
    string_agg(quote_ident(a.attname), ', '),
    string_agg(CASE WHEN a.attname = 'row_kind' THEN quote_literal('attempt')
                    WHEN a.attname = 'verdict' THEN quote_literal('accepted')
                    WHEN a.attname = 'received_at' THEN quote_literal($2::timestamptz)
                    WHEN t.typname = 'uuid' THEN quote_literal(gen_random_uuid())
                    WHEN t.typname = 'jsonb' THEN quote_literal('{}')
                    WHEN t.typname = 'bool' THEN 'false'
                    WHEN t.typname = 'timestamptz' THEN 'now()'
                    WHEN t.typname = 'text' THEN quote_literal('x') ELSE '0' END, ', '))
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND a.attnotnull;

-- name: count
SELECT count(*) FROM {table};
