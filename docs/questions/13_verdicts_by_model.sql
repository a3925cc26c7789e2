-- What do people think of each model's answers?
-- The last verdict on each record counts: people change their minds.
WITH last AS (
    SELECT DISTINCT ON (record_id) record_id, received_at, verdict, edit_ratio
    FROM facts.feedback
    WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
    ORDER BY record_id, seq DESC
)
SELECT r.provider, r.model, r.task,
       count(*) AS judged,
       round(count(*) FILTER (WHERE l.verdict IN ('accepted', 'edited')) / count(*)::numeric, 4) AS share_used,
       round(avg(l.edit_ratio)::numeric, 4) AS mean_edit_ratio
FROM last l
JOIN facts.request r ON r.record_id = l.record_id AND r.received_at = l.received_at
WHERE r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z'
GROUP BY r.provider, r.model, r.task
ORDER BY r.provider, r.model, r.task;
