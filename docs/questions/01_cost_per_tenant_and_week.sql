-- What does each tenant cost a week?
-- Weeks begin on Monday, UTC. Late answers count in the week in which they came.
SELECT tenant,
       date_trunc('week', coalesce(finished_at, started_at) AT TIME ZONE 'UTC')::date AS week,
       count(DISTINCT record_id) AS records,
       sum(cost_usd) AS cost_usd
FROM facts.attempt
WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
GROUP BY tenant, week
ORDER BY tenant, week;
