-- Which records of a tenant went to which vendor, in which region?
-- Every call that was started counts: its data may have left, whatever came back.
SELECT record_id, provider, region, count(*) AS calls, min(started_at) AS first_sent_at
FROM facts.attempt
WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
  AND tenant = 'acme' AND row_kind = 'attempt'
GROUP BY record_id, provider, region
ORDER BY first_sent_at, record_id, provider, region;
