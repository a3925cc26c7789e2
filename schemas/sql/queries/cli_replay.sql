-- name: replay_states
-- Whether each record may be replayed: it has ended, and no other record replays it. What is asked for twice before the
-- first has been taken in is taken in once: the classifier knows a replay by the record that it names.
SELECT wanted.record_id,
       coalesce(r.tenant, '') AS tenant,
       CASE
           WHEN first.record_id IS NULL THEN 'unknown'
           WHEN r.record_id IS NULL THEN 'open'
           WHEN EXISTS (SELECT FROM facts.request n WHERE n.replay_of = wanted.record_id) THEN 'replayed'
           ELSE 'ready'
       END AS state
FROM unnest($1::uuid[]) AS wanted (record_id)
LEFT JOIN record.entry first ON first.record_id = wanted.record_id AND first.seq = 0
LEFT JOIN facts.request r ON r.record_id = wanted.record_id;
