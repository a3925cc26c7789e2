-- name: progress
-- How far a tenant's jobs are: sealed; without an acknowledged result; waiting for a verdict; with something put aside.
SELECT (SELECT count(*) FROM facts.request r WHERE r.tenant = $1) AS sealed,
       (SELECT count(*) FROM record.open_record o WHERE o.tenant = $1) AS open,
       (SELECT count(*) FROM record.held h WHERE h.tenant = $1 AND h.verdict IS NULL) AS held,
       (SELECT count(*) FROM record.aside a JOIN facts.request r USING (record_id) WHERE r.tenant = $1) AS aside;

-- name: waiting
-- What waits for somebody's verdict.
SELECT h.record_id, h.seq FROM record.held h WHERE h.tenant = $1 AND h.verdict IS NULL;

-- name: create_login
-- A person's login with the rights of analysts.
CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE analyst;

-- name: drop_login
-- Gone again.
DROP ROLE {name};

-- name: facts_relations
-- Every table and view that analysts are offered.
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'facts' AND c.relkind IN ('r', 'p', 'v');

-- name: content_relations
-- Every table with content, keys, entries or operational state.
SELECT format('%I.%I', n.nspname, c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('vault', 'keyring', 'record') AND c.relkind IN ('r', 'p', 'v');

-- name: read_relation
-- One row of any relation.
SELECT * FROM {relation} LIMIT 1;

-- name: statuses
-- How many of a tenant's records ended how.
SELECT jsonb_object_agg(s.status, s.records)::text AS counts
FROM (SELECT r.status, count(*) AS records FROM facts.request r WHERE r.tenant = $1 GROUP BY r.status) AS s;

-- name: workers
-- Every executor that took a lease and did not give it up.
SELECT worker FROM record.lease;

-- name: verdicts
-- How many verdicts each of a tenant's records has that has any.
SELECT count(*)::integer FROM facts.feedback f WHERE f.tenant = $1 GROUP BY f.record_id;

-- name: asked_to_wait
-- How many attempts of a tenant's open records a provider answered with so many milliseconds to wait.
SELECT count(*) AS attempts
FROM record.entry e JOIN record.open_record o USING (record_id)
WHERE o.tenant = $1 AND e.kind = 'attempt_finished' AND (e.body::json #>> '{data,retry_after_ms}')::bigint = $2;
