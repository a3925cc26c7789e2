-- name: apply
-- Bring a version into force; null where it is in force already.
SELECT record.apply_tenants($1, $2);

-- name: history
-- Which versions came into force, newest first.
SELECT a.seq, encode(a.version, 'hex') AS version, a.applied_at, a.applied_by, a.reason
FROM record.tenants_applied a ORDER BY a.seq DESC LIMIT $1;
