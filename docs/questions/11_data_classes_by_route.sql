-- Which classes of data go to which route?
SELECT r.data_class, a.provider, a.region, count(DISTINCT a.record_id) AS records, count(*) AS calls
FROM facts.attempt a
JOIN facts.request r ON r.record_id = a.record_id AND r.received_at = a.received_at
WHERE a.received_at >= '2026-01-01Z' AND a.received_at < '2026-04-01Z'
  AND r.received_at >= '2026-01-01Z' AND r.received_at < '2026-04-01Z' AND a.row_kind = 'attempt'
GROUP BY r.data_class, a.provider, a.region
ORDER BY r.data_class, a.provider, a.region;
