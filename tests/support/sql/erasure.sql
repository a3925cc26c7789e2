-- name: left_of
-- What an erasure must leave none of.
SELECT (SELECT count(*) FROM keyring.record_key k WHERE k.record_id = $1) AS keys,
       (SELECT count(*) FROM vault.content c WHERE c.record_id = $1) AS contents,
       (SELECT count(*) FROM record.subject s WHERE s.record_id = $1) AS subjects;

-- name: erasure
SELECT * FROM record.erasure WHERE record_id = $1;

-- name: under_way
-- What is asked for and not done: records, and subjects whose records are to be found.
SELECT (SELECT count(*) FROM record.erasure WHERE done_at IS NULL) AS records,
       (SELECT count(*) FROM record.erased_subject WHERE request IS NOT NULL) AS subjects;

-- name: write_something
-- So that the transaction has a number.
UPDATE record.open_record SET sweeps = sweeps WHERE record_id = $1;

-- name: keep
-- What a backup taken now would bring back.
CREATE TABLE public.{name}_kept AS TABLE {table};

-- name: restore
INSERT INTO {table} SELECT * FROM public.{name}_kept;

-- name: forget
DELETE FROM {table};

-- name: as_if_large
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;

-- name: plan_of_pass
-- How the next batch of a retention pass is found.
EXPLAIN (COSTS OFF)
SELECT r.record_id FROM facts.request r
WHERE (r.sealed_at, r.record_id) > ('2026-01-01'::timestamptz, '00000000-0000-0000-0000-000000000000'::uuid)
  AND r.sealed_at < '2026-02-01'::timestamptz
ORDER BY r.sealed_at, r.record_id LIMIT 1000;

-- name: records_of
SELECT e.record_id FROM record.entry e WHERE e.seq = 0 AND e.body -> 'data' ->> 'tenant' = $1;

-- name: said
-- Records that say that they were erased; once each, or the index of late entries would be broken.
SELECT e.record_id FROM record.entry e WHERE e.record_id = ANY ($1::uuid[]) AND e.kind = 'erased';

-- name: subjects_of
SELECT count(*) AS subjects FROM record.erased_subject WHERE tenant = $1;
