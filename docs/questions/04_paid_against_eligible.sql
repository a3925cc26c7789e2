-- Do we pay more than the cheapest eligible route, and how much less than the dearest?
-- Estimates are of one call: only records that needed one are compared.
SELECT r.tenant,
       count(*) AS records,
       sum(a.cost_usd) AS paid_usd,
       sum(r.cost_estimate_usd) AS expected_usd,
       sum(r.cost_cheapest_eligible_usd) AS cheapest_usd,
       sum(r.cost_dearest_eligible_usd) AS dearest_usd
FROM facts.request r
JOIN facts.attempt a ON a.record_id = r.record_id AND a.received_at = r.received_at
WHERE r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z'
  AND a.received_at >= '2026-01-01Z' AND a.received_at < '2026-04-01Z'
  AND r.status = 'succeeded' AND r.attempts = 1 AND r.cost_cheapest_eligible_usd IS NOT NULL
GROUP BY r.tenant
ORDER BY r.tenant;
