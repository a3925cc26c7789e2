-- name: everything
-- Every table, column, constraint, index, trigger, function, view and comment of the project's schemas, one line each.
SELECT format('%s %s.%s %s', c.relkind, n.nspname, c.relname, coalesce(pg_get_expr(c.relpartbound, c.oid), ''))
           || coalesce(' -- ' || obj_description(c.oid, 'pg_class'), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring') AND c.relkind <> 'I'
UNION ALL
SELECT format('column %s.%s %s %s%s default %s', a.attrelid::regclass, a.attname, a.attnum,
              format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END,
              pg_get_expr(d.adbin, d.adrelid)) || coalesce(' -- ' || col_description(a.attrelid, a.attnum), '')
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring') AND a.attnum > 0 AND c.relkind IN ('r', 'p', 'v')
UNION ALL
SELECT format('constraint %s %s %s', o.conrelid::regclass, o.conname, pg_get_constraintdef(o.oid))
FROM pg_constraint o JOIN pg_namespace n ON n.oid = o.connamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring')
UNION ALL
SELECT 'index ' || i.indexdef FROM pg_indexes i WHERE i.schemaname IN ('record', 'facts', 'vault', 'keyring')
UNION ALL
SELECT format('trigger %s %s %s', t.tgrelid::regclass, t.tgenabled, pg_get_triggerdef(t.oid))
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring') AND NOT t.tgisinternal
UNION ALL
SELECT pg_get_functiondef(p.oid) || coalesce(' -- ' || obj_description(p.oid, 'pg_proc'), '')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring')
UNION ALL
SELECT format('view %s.%s %s', v.schemaname, v.viewname, v.definition)
FROM pg_views v WHERE v.schemaname IN ('record', 'facts', 'vault', 'keyring')
UNION ALL
SELECT format('grant %s.%s %s %s', g.table_schema, g.table_name, g.grantee, g.privilege_type)
FROM information_schema.role_table_grants g WHERE g.table_schema IN ('record', 'facts', 'vault', 'keyring')
UNION ALL
SELECT format('owner %s %s', c.oid::regclass, c.relowner::regrole)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring') AND c.relkind IN ('r', 'p', 'v')
UNION ALL
SELECT format('column grant %s.%s %s', c.oid::regclass, a.attname, a.attacl)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring') AND a.attacl IS NOT NULL
UNION ALL
SELECT format('function %s %s %s', p.oid::regprocedure, p.proowner::regrole, p.proacl)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('record', 'facts', 'vault', 'keyring')
UNION ALL
SELECT 'may write ' || m.role || ' ' || m.kind FROM record.may_write m
UNION ALL
SELECT 'transition ' || t.after || ' ' || t.kind FROM record.transition t
ORDER BY 1;

-- name: append_only
-- The append-only tables: the partitioned ones, and every partition that hangs below them.
WITH RECURSIVE tree AS (
    SELECT unnest('{record.entry,facts.request,facts.attempt,facts.source,facts.feedback}'::regclass[]) AS oid
    UNION ALL
    SELECT i.inhrelid::regclass FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
)
SELECT tree.oid::regclass::text AS name FROM tree ORDER BY 1;

-- name: uncovered
-- Tables of the schemas of entries and facts that are partitioned, or a partition, and lack a trigger that always fires.
SELECT c.oid::regclass::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('record', 'facts') AND (c.relkind = 'p' OR c.relispartition) AND c.relkind IN ('p', 'r')
  AND 2 > (SELECT count(*) FROM pg_trigger t
           WHERE t.tgrelid = c.oid AND t.tgenabled = 'A' AND t.tgname IN ('refuse_change', 'refuse_truncate'))
ORDER BY 1;

-- name: months
-- The months for which a table has a partition, oldest first.
SELECT right(i.inhrelid::regclass::text, 7) FROM pg_inherits i
WHERE i.inhparent = $1::text::regclass AND i.inhrelid::regclass::text NOT LIKE '%default' ORDER BY 1;

-- name: tampered_digest
-- As if an applied file had been changed afterwards.
UPDATE migration.applied SET digest = 'another' WHERE version = $1;

-- name: forget_migration
-- As if a migration had not been applied.
DELETE FROM migration.applied WHERE version = $1;

-- name: drop_partition
-- As if a month's partition had not been made ahead of time.
DROP TABLE {name};

-- name: migrations_applied
SELECT version FROM migration.applied ORDER BY version;

-- name: entries
-- How many entries there are.
SELECT count(*) FROM record.entry;
