-- name: months
-- Six months of partitions; the questions ask for the last three.
SELECT record.ensure_partitions('2025-10-01', 6);

-- name: fill_requests
-- $1 records, evenly over 182 days, in the order in which they would come.
INSERT INTO facts.request
SELECT (lpad(to_hex((extract(epoch FROM t.at) * 1000)::bigint), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid,
       t.at, 'tenant-' || n % 20, jsonb_build_object('team', 'team-' || n % 50, 'env', CASE WHEN n % 3 = 0 THEN 'test' ELSE 'live' END),
       CASE WHEN n % 25 = 0 THEN 'failed' ELSE 'succeeded' END, CASE WHEN n % 25 = 0 THEN 'provider_failed' END,
       CASE WHEN n % 4 = 0 THEN 'batch' ELSE 'background' END, 'chat',
       (ARRAY['summarise','extract','translate','write','classify'])[1 + n % 5],
       (ARRAY['public','internal','confidential','regulated'])[1 + n % 4], 'low', NULL, 'en', 'prod-stable',
       'provider-' || n % 3, 'model-' || n % 7, '2026-01-01', (ARRAY['eu','us'])[1 + n % 2], 'standard', 'sha256:0',
       800, CASE WHEN n % 2 = 0 THEN 400 ELSE 0 END, 120, 0, 0.0021, 0.0090, t.at + interval '1 s', t.at + interval '2 s',
       t.at + interval '4 s', t.at + interval '5 s',
       CASE WHEN n % 20 = 0 THEN jsonb_build_object('in_doubt', n % 600) ELSE '{}' END,
       1 + (n % 10 = 0)::integer, (n % 10 = 0)::integer, false, CASE WHEN n % 3 = 0 THEN n % 30 > 0 END,
       CASE WHEN n % 100 = 99 THEN (lpad(to_hex((extract(epoch FROM t.before) * 1000)::bigint), 12, '0') || '7000' || '8' || lpad(to_hex(n - 99), 15, '0'))::uuid END,
       0.0020, 0.0019
FROM generate_series(0, $1::integer - 1) AS n
CROSS JOIN LATERAL (
    SELECT '2025-10-01Z'::timestamptz + interval '182 days' * n / $1::integer AS at,
           '2025-10-01Z'::timestamptz + interval '182 days' * (n - 99) / $1::integer AS before
) AS t;

-- name: fill_attempts
-- One call for each record, a fallback for each tenth, a late answer for each hundredth.
INSERT INTO facts.attempt
SELECT r.record_id, r.received_at, k.seq, k.attempt, k.row_kind, r.tenant, r.latency_class, r.provider, r.model, r.region,
       r.tier, k.attempt = 2, k.row_kind = 'late', '00000000-0000-0000-0000-000000000007',
       CASE WHEN k.attempt = 1 AND r.fallbacks = 1 THEN 'failed' WHEN k.row_kind = 'late' THEN 'ok' ELSE 'ok' END,
       CASE WHEN k.attempt = 1 AND r.fallbacks = 1 THEN CASE WHEN r.task = 'write' THEN 'refused' ELSE 'overloaded' END END,
       200, r.started_at, r.finished_at, 200 + abs(hashtext(r.record_id::text)) % 4000, 800, r.cached_input_tokens, 120, 0,
       0.0021, 'req', r.model, 'stop'
FROM facts.request r
CROSS JOIN LATERAL (VALUES (3, 1, 'attempt'), (5, 2, 'attempt'), (8, 1, 'late')) AS k (seq, attempt, row_kind)
WHERE k.seq = 3 OR (k.seq = 5 AND r.fallbacks = 1) OR (k.seq = 8 AND abs(hashtext(r.record_id::text)) % 100 = 0);

-- name: settle
-- What autovacuum would have done by then.
VACUUM (ANALYZE) facts.request, facts.attempt;

-- name: size
-- Bytes on disk of the facts, indexes included.
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'facts' AND c.relkind = 'r';

-- name: plan
-- How a query runs, and for how long.
EXPLAIN (ANALYZE, FORMAT JSON) {query}

-- name: view_of_cost_one_day
SELECT * FROM facts.cost_by_model_daily WHERE day = '2026-03-30'

-- name: view_of_fallbacks_one_week
SELECT * FROM facts.fallback_rate WHERE day >= '2026-03-24'

-- name: record_list_failed_last_day
SELECT r.record_id FROM facts.request r WHERE r.status = 'failed' AND r.sealed_at >= '2026-03-30Z'
ORDER BY r.received_at DESC, r.record_id DESC LIMIT 20

-- name: replays_of_one_record
SELECT r.record_id FROM facts.request r WHERE r.replay_of = '00000000-0000-0000-0000-000000000000'
