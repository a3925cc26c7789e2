-- name: request_facts
SELECT * FROM facts.request WHERE record_id = $1;

-- name: attempt_facts
SELECT * FROM facts.attempt WHERE record_id = $1 ORDER BY seq;

-- name: in_flight
SELECT * FROM facts.in_flight WHERE record_id = $1;

-- name: cost_by_model
-- What the view for analysts says that a tenant's calls cost.
SELECT sum(calls)::int AS calls, sum(cost_usd) AS cost_usd FROM facts.cost_by_model_daily WHERE tenant = $1;

-- name: open_record
SELECT sweeps, next_sweep_at FROM record.open_record WHERE record_id = $1;

-- name: clock
SELECT clock_timestamp();

-- name: silent_for
-- As if nobody had looked after a record for its whole interval.
UPDATE record.open_record SET next_sweep_at = now() WHERE record_id = ANY ($1::uuid[]);

-- name: aside
SELECT count(*) FROM record.aside;

-- name: login
SELECT session_user::text;

-- name: derived_id
SELECT record.derived_id($1, $2, $3);
