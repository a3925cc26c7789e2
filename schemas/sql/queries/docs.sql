-- name: schemas
-- The schemas of the record, each with its comment, in the order in which people meet them.
SELECT n.nspname AS name, obj_description(n.oid, 'pg_namespace') AS about
FROM pg_namespace n
WHERE n.nspname = ANY ($1::text[])
ORDER BY array_position($1::text[], n.nspname::text);

-- name: relations
-- Tables and views with their primary key and their partitioning; partitions are the table's own, and left out.
SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'v' AS is_view,
       obj_description(c.oid, 'pg_class') AS about,
       (SELECT array_agg(a.attname ORDER BY array_position(i.indkey::int2[], a.attnum))
        FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary) AS primary_key,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partitioned_by,
       EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'refuse_change') AS append_only
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
ORDER BY c.relkind = 'v', c.relname;

-- name: columns
-- Columns in the order of their tables.
SELECT n.nspname AS schema, c.relname AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull OR c.relkind = 'v' AS required, col_description(c.oid, a.attnum) AS about
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY n.nspname, c.relname, a.attnum;

-- name: functions
-- Functions that carry a comment: those that people may call or have to know.
SELECT n.nspname AS schema, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
       obj_description(p.oid, 'pg_proc') AS about
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = ANY ($1::text[]) AND obj_description(p.oid, 'pg_proc') IS NOT NULL
ORDER BY n.nspname, p.proname;

-- name: granted
-- What a role may read.
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    AND has_table_privilege('analyst', c.oid, 'SELECT')
ORDER BY 1;
