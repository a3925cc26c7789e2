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

-- name: record_key_for_people
-- The key of a record, with the rights of people.
SELECT k.record_id, k.wrapped, k.master_key FROM keyring.record_key_of($1) AS k;

-- name: under_master_keys
-- How many keys each master key wraps.
SELECT w.master_key, count(*) FILTER (WHERE w.is_record) AS records, count(*) FILTER (WHERE NOT w.is_record) AS tenants
FROM (SELECT master_key, true AS is_record FROM keyring.record_key
      UNION ALL
      SELECT master_key, false FROM keyring.tenant_key) AS w
GROUP BY w.master_key
ORDER BY w.master_key;

-- name: lock_rotation
-- Of two rotations one waits for the other's batch; the number is arbitrary and ours.
SELECT pg_advisory_xact_lock(727002);

-- name: record_keys_to_rewrap
-- Record keys under other master keys than the current one, a page at a time.
SELECT record_id AS id, wrapped, master_key FROM keyring.record_key
WHERE ($1::uuid IS NULL OR record_id > $1) AND master_key <> $2 ORDER BY record_id LIMIT $3;

-- name: rewrap_record_keys
-- Only where a key is still what was read: one that was erased meanwhile does not come back.
UPDATE keyring.record_key k SET wrapped = n.wrapped, master_key = $4
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS n (record_id, was, wrapped)
WHERE k.record_id = n.record_id AND k.wrapped = n.was
RETURNING k.record_id;

-- name: tenant_keys_to_rewrap
-- Tenant keys under other master keys than the current one, a page at a time.
SELECT tenant AS id, wrapped, master_key FROM keyring.tenant_key
WHERE ($1::text IS NULL OR tenant > $1) AND master_key <> $2 ORDER BY tenant LIMIT $3;

-- name: rewrap_tenant_keys
-- As for record keys.
UPDATE keyring.tenant_key k SET wrapped = n.wrapped, master_key = $4
FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS n (tenant, was, wrapped)
WHERE k.tenant = n.tenant AND k.wrapped = n.was
RETURNING k.tenant;
