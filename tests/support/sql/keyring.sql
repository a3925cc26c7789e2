-- name: tenants
-- Whose keys there are.
SELECT array_agg(tenant ORDER BY tenant) FROM keyring.tenant_key;

-- name: swap_tenants
-- Each of two tenants gets the other's key.
UPDATE keyring.tenant_key k SET wrapped = o.wrapped
FROM keyring.tenant_key o
WHERE k.tenant IN ($1, $2) AND o.tenant IN ($1, $2) AND o.tenant <> k.tenant;

-- name: no_keyring_here
-- So that a keyring in another database is the only one there is.
DROP SCHEMA keyring CASCADE;

-- name: keyrings_here
SELECT count(*) FROM pg_namespace WHERE nspname = 'keyring';

-- name: damage_record_key
-- As if a disk had flipped the last bit of a wrapped key.
UPDATE keyring.record_key SET wrapped = set_byte(wrapped, octet_length(wrapped) - 1,
    get_byte(wrapped, octet_length(wrapped) - 1) # 1) WHERE record_id = $1;

-- name: access_log
SELECT login, reason, kind FROM record.access_log WHERE record_id = $1 ORDER BY asked_at, access_id, kind;

-- name: forge
-- A note in the name of somebody, as only the owner could write it.
INSERT INTO record.access_log (access_id, record_id, entry_id, kind, reason, login, asked_at)
SELECT $1, record_id, entry_id, kind, 'forged', $3, now() - $4::interval FROM vault.content WHERE record_id = $2;

-- name: ask
SELECT vault.ask($1, $2);

-- name: hand_out
SELECT kind FROM vault.hand_out($1, $2);

-- name: ask_and_take
-- Both in one statement, and therefore in one transaction.
WITH asked AS MATERIALIZED (SELECT vault.ask($1, $2) AS access) SELECT h.kind FROM asked, vault.hand_out($1, asked.access) AS h;
