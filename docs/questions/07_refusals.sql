-- Which models refuse which tasks?
SELECT a.provider, a.model, r.task,
       count(*) AS answered,
       count(*) FILTER (WHERE a.failure_class IN ('refused', 'content_filtered')) AS refused,
       round(count(*) FILTER (WHERE a.failure_class IN ('refused', 'content_filtered')) / count(*)::numeric, 4) AS share
FROM facts.attempt a
JOIN facts.request r ON r.record_id = a.record_id AND r.received_at = a.received_at
WHERE a.received_at >= '2026-01-01Z' AND a.received_at < '2026-04-01Z'
  AND r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z'
  AND (a.outcome = 'ok' OR a.failure_class IN ('refused', 'content_filtered'))
GROUP BY a.provider, a.model, r.task
ORDER BY a.provider, a.model, r.task;
