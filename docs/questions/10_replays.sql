-- Do replays succeed, and what do they cost?
-- By how the first record of each line of replays ended.
SELECT l.root_status, o.error_code,
       count(DISTINCT l.root_id) AS records,
       count(*) AS replays,
       count(*) FILTER (WHERE l.status = 'succeeded') AS succeeded,
       sum(c.cost_usd) AS cost_usd
FROM facts.replay_lineage l
LEFT JOIN facts.request o ON o.record_id = l.root_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(a.cost_usd), 0) AS cost_usd FROM facts.attempt a
    WHERE a.record_id = l.record_id AND a.received_at = l.received_at
) AS c
WHERE l.received_at >= '2026-01-01Z' AND l.received_at < '2026-04-01Z'
GROUP BY l.root_status, o.error_code
ORDER BY l.root_status, o.error_code;
