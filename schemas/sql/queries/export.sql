-- name: about
-- Who exports, and from which schema.
SELECT session_user AS login, facts.schema_version() AS schema_version;

-- name: first_record
-- The oldest record that has ended, at or after an id.
SELECT record_id FROM facts.request WHERE record_id >= $1 ORDER BY record_id LIMIT 1;

-- name: last_record
-- The newest record that has ended.
SELECT record_id FROM facts.request ORDER BY record_id DESC LIMIT 1;

-- name: in_flight
-- Whether a record of these ids has not ended yet.
SELECT EXISTS (SELECT FROM facts.in_flight WHERE record_id >= $1 AND record_id < $2);

-- name: fingerprint
-- What is in the tables for a month: the same rows in any order give the same numbers.
SELECT 'request' AS name, count(*) AS rows, coalesce(bit_xor(hash_record_extended(t, 0)), 0) AS hash
FROM facts.request t WHERE t.received_at >= $1 AND t.received_at < $2
UNION ALL
SELECT 'attempt', count(*), coalesce(bit_xor(hash_record_extended(t, 0)), 0)
FROM facts.attempt t WHERE t.received_at >= $1 AND t.received_at < $2
UNION ALL
SELECT 'source', count(*), coalesce(bit_xor(hash_record_extended(t, 0)), 0)
FROM facts.source t WHERE t.received_at >= $1 AND t.received_at < $2
UNION ALL
SELECT 'feedback', count(*), coalesce(bit_xor(hash_record_extended(t, 0)), 0)
FROM facts.feedback t WHERE t.received_at >= $1 AND t.received_at < $2;

-- name: ids
-- The next records of a month, in the order of their ids.
SELECT t.record_id FROM facts.request t
WHERE t.received_at >= $1 AND t.received_at < $2 AND t.record_id > $3
ORDER BY t.record_id
LIMIT $4;

-- name: request
-- The partition key is bounded too, for other months not to be looked at.
SELECT t.* FROM facts.request t
WHERE t.record_id = ANY ($1::uuid[]) AND t.received_at >= $2 AND t.received_at < $3 ORDER BY t.record_id;

-- name: attempt
-- In the order of the chain.
SELECT t.* FROM facts.attempt t
WHERE t.record_id = ANY ($1::uuid[]) AND t.received_at >= $2 AND t.received_at < $3 ORDER BY t.record_id, t.seq;

-- name: source
-- In the order of the job.
SELECT t.* FROM facts.source t
WHERE t.record_id = ANY ($1::uuid[]) AND t.received_at >= $2 AND t.received_at < $3 ORDER BY t.record_id, t.position;

-- name: feedback
-- In the order of the chain.
SELECT t.* FROM facts.feedback t
WHERE t.record_id = ANY ($1::uuid[]) AND t.received_at >= $2 AND t.received_at < $3 ORDER BY t.record_id, t.seq;

-- name: held
-- By record and reason.
SELECT t.* FROM facts.held t
WHERE t.record_id = ANY ($1::uuid[]) AND t.received_at >= $2 AND t.received_at < $3 ORDER BY t.record_id, t.reason;

-- name: decision_reason
-- In the order of the chain. The view reads the entries, which are partitioned by id.
SELECT t.* FROM facts.decision_reason t
WHERE t.record_id = ANY ($1::uuid[])
  AND t.record_id >= facts.id_from($2::timestamptz - interval '1 day')
  AND t.record_id < facts.id_from($3::timestamptz + interval '1 day')
ORDER BY t.record_id, t.seq, t.position;

-- name: finding
-- In the order of the job's texts.
SELECT t.* FROM facts.finding t
WHERE t.record_id = ANY ($1::uuid[])
  AND t.record_id >= facts.id_from($2::timestamptz - interval '1 day')
  AND t.record_id < facts.id_from($3::timestamptz + interval '1 day')
ORDER BY t.record_id, t.seq, t.position;

-- name: validation
-- In the order of the chain.
SELECT t.* FROM facts.validation t
WHERE t.record_id = ANY ($1::uuid[])
  AND t.record_id >= facts.id_from($2::timestamptz - interval '1 day')
  AND t.record_id < facts.id_from($3::timestamptz + interval '1 day')
ORDER BY t.record_id, t.seq, t.position;
