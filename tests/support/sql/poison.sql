-- name: refuse_tenant
-- No record of this tenant can begin.
ALTER TABLE record.entry ADD CONSTRAINT poison
    CHECK (seq > 0 OR body #>> '{{data,tenant}}' <> '{tenant}') NOT VALID;

-- name: refuse_entry
-- This record cannot get an entry of this kind.
ALTER TABLE record.entry ADD CONSTRAINT poison
    CHECK (record_id <> '{record_id}' OR kind <> '{kind}') NOT VALID;

-- name: allow
-- What was refused goes in again.
ALTER TABLE record.entry DROP CONSTRAINT poison;

-- name: open
-- Records without an acknowledged result.
SELECT o.record_id FROM record.open_record o;

-- name: some_record
-- One record of a tenant.
SELECT o.record_id FROM record.open_record o WHERE o.tenant = $1 ORDER BY o.record_id OFFSET $2 LIMIT 1;
