-- name: tables
-- Every table and materialised view of a database but the server's own; a partitioned one stands for its partitions.
SELECT c.oid::regclass::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%' AND n.nspname NOT LIKE 'pg\_temp%'
    AND c.relkind IN ('p', 'r', 'm') AND NOT c.relispartition
ORDER BY 1;

-- name: rows
-- One line for each row of a table, as text.
SELECT t::text AS line FROM {table} AS t
