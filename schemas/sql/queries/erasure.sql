-- name: refused_subjects
-- Which of these subjects were erased, and whether their jobs are refused whatever they say of their age. Asked in a
-- statement after one that wrote: see migration 7.
SELECT s.tenant, s.subject_hmac, s.erased_at, clock_timestamp() < s.refuse_until AS refused_now
FROM unnest($1::text[], $2::bytea[]) AS wanted (tenant, subject_hmac)
JOIN record.erased_subject s USING (tenant, subject_hmac);

-- name: erased
-- Which of these records are erased, or about to be.
SELECT e.record_id FROM record.erasure e WHERE e.record_id = ANY ($1::uuid[]);

-- name: remember_subjects
-- Whose content these new records hold.
INSERT INTO record.subject (tenant, subject_hmac, record_id) SELECT * FROM unnest($1::text[], $2::bytea[], $3::uuid[]);

-- name: remember_replays
-- Which records these new ones run again.
INSERT INTO record.replay (record_id, replay_of) SELECT * FROM unnest($1::uuid[], $2::uuid[]);

-- name: waiting
-- For how many seconds the oldest request has waited; null where there is nothing to erase. Asked every second.
SELECT extract(epoch FROM clock_timestamp() - least(
    (SELECT min(asked_at) FROM record.erasure WHERE done_at IS NULL),
    (SELECT min(erased_at) FROM record.erased_subject WHERE request IS NOT NULL)))::double precision;

-- name: set_horizons
-- What must have ended before these are erased: every transaction that had a number when the request was first seen.
UPDATE record.erasure SET horizon = pg_snapshot_xmax(pg_current_snapshot()) WHERE done_at IS NULL AND horizon IS NULL;

-- name: set_subject_horizons
-- The same for subjects, before their records are looked for.
UPDATE record.erased_subject SET horizon = pg_snapshot_xmax(pg_current_snapshot())
WHERE request IS NOT NULL AND horizon IS NULL;

-- name: subjects_due
-- Subjects all of whose records can be seen now.
SELECT tenant, subject_hmac, erased_at, refuse_until, reason, actor, request
FROM record.erased_subject
WHERE request IS NOT NULL AND horizon <= pg_snapshot_xmin(pg_current_snapshot())
ORDER BY erased_at
LIMIT $1;

-- name: find_records
-- Puts the records of a subject on the list; those that stand there stay as they are.
SELECT e.record_id
FROM record.erase(
    $3::uuid, (SELECT coalesce(array_agg(s.record_id), '{}') FROM record.subject s WHERE s.tenant = $1 AND s.subject_hmac = $2),
    'subject', $4, $5) AS e;

-- name: found_records
-- The subject's records are on the list, unless it was asked for again meanwhile.
UPDATE record.erased_subject SET request = NULL, horizon = NULL WHERE tenant = $1 AND subject_hmac = $2 AND request = $3;

-- name: due
-- Records that nobody stores content of any more, oldest request first.
SELECT record_id, request, tenant, cause, reason, actor, asked_at, begun_at IS NOT NULL AS begun
FROM record.erasure
WHERE done_at IS NULL AND horizon <= pg_snapshot_xmin(pg_current_snapshot())
ORDER BY asked_at
LIMIT $1;

-- name: find_replays
-- Puts on the list what was taken in as a replay of these records before anybody saw that they are erased.
SELECT e.record_id FROM record.erase($1::uuid, $2::uuid[], 'replay', $3, $4) AS e;

-- name: begin
-- From here on these erasures are entered; returns those that were not yet.
UPDATE record.erasure SET begun_at = clock_timestamp() WHERE record_id = ANY ($1::uuid[]) AND begun_at IS NULL
RETURNING record_id;

-- name: put_aside
-- What their records will say of it, once they are sealed.
INSERT INTO record.aside (record_id, entry_id, kind, data)
SELECT a.record_id, a.entry_id, 'erased', a.data FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS a (record_id, entry_id, data)
ON CONFLICT DO NOTHING;

-- name: delete_content
-- The ciphertext of records whose keys are gone.
DELETE FROM vault.content WHERE record_id = ANY ($1::uuid[]);

-- name: forget_subjects
-- From here on nothing leads from a subject to these records.
DELETE FROM record.subject WHERE record_id = ANY ($1::uuid[]);

-- name: finish
-- Key and content are gone.
UPDATE record.erasure SET done_at = clock_timestamp() WHERE record_id = ANY ($1::uuid[]) AND done_at IS NULL;

-- name: sealed_before
-- The next sealed records in the order of their ends, with what decides how long they are kept.
SELECT record_id, tenant, data_class, sealed_at FROM record.sealed_before($1, $2, $3, $4);

-- name: retire
-- Puts records on the list whose time is up; those that stand there stay as they are. Their replays have a time of their own.
INSERT INTO record.erasure (record_id, request, tenant, cause, reason, actor)
SELECT r.record_id, $1, r.tenant, 'retention', 'retention', session_user FROM unnest($2::uuid[], $3::text[]) AS r (record_id, tenant)
ON CONFLICT DO NOTHING
RETURNING record_id;
