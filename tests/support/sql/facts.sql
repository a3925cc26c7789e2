-- name: request
SELECT * FROM facts.request ORDER BY record_id;

-- name: attempt
SELECT * FROM facts.attempt ORDER BY record_id, seq;

-- name: source
SELECT * FROM facts.source ORDER BY record_id, position;

-- name: feedback
SELECT * FROM facts.feedback ORDER BY record_id, seq;

-- name: view
-- All rows of a relation of facts.
SELECT * FROM facts.{view};

-- name: columns
-- The columns of a table of facts.
SELECT attname FROM pg_attribute
WHERE attrelid = ('facts.' || $1::text)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;

-- name: of_records
-- Relations of facts that have rows of their own for each record.
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'facts' AND c.relkind IN ('p', 'v')
  AND 2 = (SELECT count(*) FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname IN ('record_id', 'received_at'))
ORDER BY 1;

-- name: tamper
-- What only somebody with all rights can do: a change behind the trigger's back.
ALTER TABLE facts.{table} DISABLE TRIGGER refuse_change;
UPDATE facts.{table} SET {change} WHERE record_id = '{record_id}';
ALTER TABLE facts.{table} ENABLE ALWAYS TRIGGER refuse_change;

-- name: remove
-- Likewise, a row that is taken away.
ALTER TABLE facts.{table} DISABLE TRIGGER refuse_change;
DELETE FROM facts.{table} WHERE record_id = '{record_id}';
ALTER TABLE facts.{table} ENABLE ALWAYS TRIGGER refuse_change;

-- name: forge
-- A row that no chain gives: a copy under another seq.
INSERT INTO facts.attempt
SELECT record_id, received_at, 99, attempt, row_kind, tenant, latency_class, provider, model, region, tier, fallback,
       may_double_pay, worker, outcome, failure_class, http_status, started_at, finished_at, latency_ms, input_tokens,
       cached_input_tokens, output_tokens, reasoning_tokens, cost_usd, provider_request_id, response_model, finish_reason
FROM facts.attempt WHERE record_id = $1 AND seq = $2;

-- name: login
SELECT session_user;

-- name: everything_else
-- Every table, view and function outside the facts that is not the server's own.
SELECT 'SELECT * FROM ' || c.oid::regclass AS statement
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('record', 'vault', 'keyring', 'migration', 'public') AND c.relkind IN ('r', 'p', 'v')
ORDER BY 1;

-- name: facts_relations
SELECT c.oid::regclass::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'facts' AND c.relkind IN ('r', 'p', 'v')
ORDER BY 1;

-- name: count
SELECT count(*) FROM {relation};

-- name: id_from
SELECT facts.id_from($1);

-- name: leftovers
-- Tables of an interrupted rebuild.
SELECT relname FROM pg_class WHERE relname LIKE '%\_fresh' AND relkind = 'r';

-- name: call
-- A function for the owner alone.
SELECT * FROM facts.{function}('2026-01-01');
