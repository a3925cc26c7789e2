-- When is which route slow?
-- Hours of the day, UTC, by when the call was started; milliseconds from request to answer.
SELECT provider, model, region, tier,
       extract(hour FROM started_at AT TIME ZONE 'UTC')::integer AS hour,
       count(*) AS calls,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) AS p95_ms
FROM facts.attempt
WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z' AND outcome = 'ok'
GROUP BY provider, model, region, tier, hour
ORDER BY provider, model, region, tier, hour;
