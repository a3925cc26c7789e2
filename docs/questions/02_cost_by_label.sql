-- What does each label cost?
-- A record with several labels counts once under each: sum over one key, never over all of them.
SELECT l.key, l.value, count(DISTINCT r.record_id) AS records, coalesce(sum(a.cost_usd), 0) AS cost_usd
FROM facts.request r
CROSS JOIN LATERAL jsonb_each_text(r.labels) AS l (key, value)
LEFT JOIN facts.attempt a ON a.record_id = r.record_id AND a.received_at = r.received_at
    AND a.received_at >= '2026-01-01Z' AND a.received_at < '2026-04-01Z'
WHERE r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z'
GROUP BY l.key, l.value
ORDER BY l.key, cost_usd DESC, l.value;
