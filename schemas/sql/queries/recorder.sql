-- name: close_records
-- The acks of these results are in: nobody has to look after the records any more.
DELETE FROM record.open_record WHERE record_id = ANY ($1::uuid[]);

-- name: lock_aside
-- What lies aside for records that are sealed, but for entries given up; several recorders share the work.
SELECT a.record_id, a.entry_id, a.kind, a.data
FROM record.aside a
WHERE EXISTS (SELECT FROM record.entry e WHERE e.record_id = a.record_id AND e.kind = 'sealed')
  AND a.entry_id <> ALL ($2::uuid[])
ORDER BY a.put_at
LIMIT $1
FOR UPDATE SKIP LOCKED;

-- name: delete_aside
-- In the transaction that appended it.
DELETE FROM record.aside WHERE record_id = $1 AND entry_id = $2;

-- name: any_silent
-- Whether it is worth asking Kafka how far the stages have come.
SELECT EXISTS (SELECT FROM record.open_record WHERE next_sweep_at <= now());

-- name: lock_silent
-- Open records that nobody has closed for too long.
SELECT record_id, sweeps FROM record.open_record
WHERE next_sweep_at <= now()
ORDER BY next_sweep_at
LIMIT $1
FOR UPDATE SKIP LOCKED;

-- name: swept
-- When to look again; only records that were really woken count as swept.
UPDATE record.open_record o
SET next_sweep_at = now() + s.wait, sweeps = o.sweeps + s.woken::int
FROM unnest($1::uuid[], $2::interval[], $3::boolean[]) AS s (record_id, wait, woken)
WHERE o.record_id = s.record_id;

-- name: without_record
-- Which of these keys belong to no record.
SELECT k.record_id FROM unnest($1::uuid[]) AS k (record_id)
WHERE NOT EXISTS (SELECT FROM record.entry e WHERE e.record_id = k.record_id AND e.seq = 0);

-- name: forget_keys
-- Idempotency keys live 30 days.
DELETE FROM record.idempotency WHERE seen_at < now() - interval '30 days';
