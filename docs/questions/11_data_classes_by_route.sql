-- Which classes of data go to which route?
WITH called AS (
    SELECT a.record_id, a.provider, a.region, count(*) AS calls
    FROM facts.attempt a
    WHERE a.received_at >= '2026-01-01Z' AND a.received_at < '2026-04-01Z' AND a.row_kind = 'attempt'
    GROUP BY a.record_id, a.provider, a.region
)
SELECT r.data_class, c.provider, c.region, count(*) AS records, sum(c.calls)::bigint AS calls
FROM called c
JOIN facts.request r USING (record_id)
WHERE r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z'
GROUP BY r.data_class, c.provider, c.region
ORDER BY r.data_class, c.provider, c.region;
