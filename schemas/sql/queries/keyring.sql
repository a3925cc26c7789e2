-- name: create
-- One key per new record; committed before the record itself.
INSERT INTO keyring.record_key (record_id, wrapped, master_key)
SELECT k.record_id, k.wrapped, $3 FROM unnest($1::uuid[], $2::bytea[]) AS k (record_id, wrapped);

-- name: load
-- The keys of some records.
SELECT record_id, wrapped, master_key FROM keyring.record_key WHERE record_id = ANY ($1::uuid[]);

-- name: delete
-- Erases the content of records, or sweeps keys whose record was never committed.
DELETE FROM keyring.record_key WHERE record_id = ANY ($1::uuid[]) RETURNING record_id;

-- name: between
-- Keys by the time of their record, for the search for orphans.
SELECT record_id FROM keyring.record_key WHERE record_id > $1 AND record_id < $2 ORDER BY record_id LIMIT $3;
