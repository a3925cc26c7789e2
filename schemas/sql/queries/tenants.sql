-- name: in_force
-- The version of the tenants that counts, if it is another one than that at this place of the history.
SELECT a.seq, v.content FROM record.tenants_applied a JOIN record.tenants_version v USING (version)
WHERE a.seq = (SELECT max(n.seq) FROM record.tenants_applied n) AND a.seq <> $1;
