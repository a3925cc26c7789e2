-- What does each label cost?
-- A record with several labels counts once under each: sum over one key, never over all of them. Records are counted
-- and summed by all their labels first, of which there are few combinations, then once under each.
WITH counted AS (
    SELECT labels, count(*) AS records
    FROM facts.request
    WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
    GROUP BY labels
), paid AS (
    SELECT r.labels, sum(a.cost_usd) AS cost_usd
    FROM facts.attempt a
    JOIN facts.request r USING (record_id)
    WHERE a.received_at >= '2026-01-01Z' AND a.received_at < '2026-04-01Z'
      AND r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z'
    GROUP BY r.labels
)
SELECT l.key, l.value, sum(records)::bigint AS records, coalesce(sum(cost_usd), 0) AS cost_usd
FROM counted
LEFT JOIN paid USING (labels)
CROSS JOIN LATERAL jsonb_each_text(labels) AS l (key, value)
GROUP BY l.key, l.value
ORDER BY l.key, cost_usd DESC, l.value;
