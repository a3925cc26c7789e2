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

-- name: load_tenant_keys
-- The keys of some tenants.
SELECT tenant, wrapped, master_key FROM keyring.tenant_key WHERE tenant = ANY ($1::text[]);

-- name: create_tenant_keys
-- One key per new tenant, whoever comes first; it is never made anew.
INSERT INTO keyring.tenant_key (tenant, wrapped, master_key)
SELECT k.tenant, k.wrapped, $3 FROM unnest($1::text[], $2::bytea[]) AS k (tenant, wrapped)
ON CONFLICT DO NOTHING;

-- name: tenant_key_for_people
-- The key of a tenant, with the rights of people.
SELECT k.tenant, k.wrapped, k.master_key FROM keyring.tenant_key_of($1) AS k;
