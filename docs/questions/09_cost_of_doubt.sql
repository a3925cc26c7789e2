-- What do calls cost whose answer did not reach us in time?
-- Unanswered: nothing came, and a charge is not known. Late: the answer came, and its cost. Again: calls made after one in
-- doubt, which may have been paid for twice.
SELECT tenant,
       count(*) FILTER (WHERE outcome IN ('unknown', 'lost')) AS unanswered,
       count(*) FILTER (WHERE row_kind = 'late') AS late,
       coalesce(sum(cost_usd) FILTER (WHERE row_kind = 'late'), 0) AS late_usd,
       count(*) FILTER (WHERE row_kind = 'attempt' AND may_double_pay) AS again,
       coalesce(sum(cost_usd) FILTER (WHERE row_kind = 'attempt' AND may_double_pay), 0) AS again_usd
FROM facts.attempt
WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
GROUP BY tenant
HAVING bool_or(outcome IN ('unknown', 'lost') OR row_kind = 'late' OR may_double_pay)
ORDER BY tenant;
