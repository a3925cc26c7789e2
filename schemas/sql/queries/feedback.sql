-- name: records_of_keys
-- Which record answers for a tenant's key; a key that only a cancel has come for answers for none.
SELECT i.tenant, i.key_hmac, i.record_id
FROM unnest($1::text[], $2::bytea[]) AS k (tenant, key_hmac)
JOIN record.idempotency i USING (tenant, key_hmac)
WHERE i.record_id IS NOT NULL;

-- name: take_turns
-- Until the transaction ends: nobody else counts verdicts meanwhile. The number is arbitrary and ours.
SELECT pg_advisory_xact_lock(727003);

-- name: given
-- Those of these records that exist, whose each is, and the verdicts that it has or that wait for it. In one statement,
-- for the recorder moves them from the one to the other.
SELECT e.record_id, e.body -> 'data' ->> 'tenant' AS tenant,
       array(
           SELECT x.entry_id FROM record.entry x WHERE x.record_id = e.record_id AND x.kind = 'feedback'
           UNION
           SELECT a.entry_id FROM record.aside a WHERE a.record_id = e.record_id AND a.kind = 'feedback'
       ) AS given
FROM record.entry e
WHERE e.record_id = ANY ($1::uuid[]) AND e.seq = 0;

-- name: put_aside
-- What was given: the recorder appends it when the record has ended.
INSERT INTO record.aside (record_id, entry_id, kind, data)
SELECT p.record_id, p.entry_id, $3, p.data FROM unnest($1::uuid[], $2::uuid[], $4::text[]) AS p (record_id, entry_id, data)
ON CONFLICT DO NOTHING;
