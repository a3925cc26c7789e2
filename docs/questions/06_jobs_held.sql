-- What share of the jobs had to wait, for how long, and why?
WITH ended AS (
    SELECT count(*) AS records FROM facts.request
    WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
)
SELECT h.reason,
       count(*) AS records,
       round(count(*) / max(ended.records)::numeric, 4) AS share,
       round(avg(h.seconds), 1) AS mean_seconds,
       max(h.seconds) AS longest_seconds
FROM facts.held h CROSS JOIN ended
WHERE h.received_at >= '2026-01-01Z' AND h.received_at < '2026-04-01Z'
GROUP BY h.reason
ORDER BY records DESC, h.reason;
