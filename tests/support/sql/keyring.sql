-- name: tenants
-- Whose keys there are.
SELECT array_agg(tenant ORDER BY tenant) FROM keyring.tenant_key;

-- name: swap_tenants
-- Each of two tenants gets the other's key.
UPDATE keyring.tenant_key k SET wrapped = o.wrapped
FROM keyring.tenant_key o
WHERE k.tenant IN ($1, $2) AND o.tenant IN ($1, $2) AND o.tenant <> k.tenant;
