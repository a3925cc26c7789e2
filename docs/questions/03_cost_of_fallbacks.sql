-- What did it cost us that the first route failed?
-- What calls to other routes cost, beside what one call to the first route was expected to cost.
WITH fallen AS (
    SELECT record_id, received_at, alias, cost_estimate_usd
    FROM facts.request
    WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z' AND fallbacks > 0
)
SELECT f.alias,
       count(*) AS records,
       sum(c.cost_usd) AS cost_usd,
       sum(f.cost_estimate_usd) AS expected_usd,
       sum(c.cost_usd) - sum(f.cost_estimate_usd) AS extra_usd
FROM fallen f
CROSS JOIN LATERAL (
    SELECT sum(a.cost_usd) AS cost_usd FROM facts.attempt a
    WHERE a.record_id = f.record_id AND a.received_at = f.received_at AND a.fallback
) AS c
GROUP BY f.alias
ORDER BY f.alias;
