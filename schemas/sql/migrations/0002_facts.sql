-- Facts for analysts: typed rows appended when a record is sealed. Derived from the entries, and rebuilt from them.

CREATE SCHEMA facts;
COMMENT ON SCHEMA facts IS 'Typed, append-only rows for analysts; everything here can be rebuilt from the entries.';

CREATE TABLE facts.request (
    record_id                 uuid        NOT NULL,
    received_at               timestamptz NOT NULL,
    tenant                    text        NOT NULL,
    labels                    jsonb       NOT NULL,
    status                    text        NOT NULL,
    error_code                text,
    latency_class             text,
    operation                 text,
    task                      text,
    data_class                text,
    risk_tier                 text,
    user_tier                 text,
    language                  text,
    alias                     text,
    provider                  text,
    model                     text,
    model_version             text,
    region                    text,
    tier                      text,
    policy_bundle             text,
    input_tokens              integer     NOT NULL,
    cached_input_tokens       integer     NOT NULL,
    output_tokens             integer     NOT NULL,
    reasoning_tokens          integer     NOT NULL,
    cost_usd                  numeric     NOT NULL,
    cost_dearest_eligible_usd numeric,
    decided_at                timestamptz,
    started_at                timestamptz,
    finished_at               timestamptz,
    sealed_at                 timestamptz NOT NULL,
    held_seconds              jsonb       NOT NULL,
    attempts                  integer     NOT NULL,
    fallbacks                 integer     NOT NULL,
    escalated                 boolean     NOT NULL,
    schema_valid              boolean,
    replay_of                 uuid,
    PRIMARY KEY (record_id, received_at)
) PARTITION BY RANGE (received_at);
COMMENT ON TABLE facts.request IS 'One wide row per record, written when it was sealed. Cost over time: sum facts.attempt, which also has late costs.';
COMMENT ON COLUMN facts.request.record_id IS 'The immutable id of the record.';
COMMENT ON COLUMN facts.request.received_at IS 'When the job was taken in; the partition key, so name a range of it.';
COMMENT ON COLUMN facts.request.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.request.labels IS 'The caller''s key-value pairs for grouping cost.';
COMMENT ON COLUMN facts.request.status IS 'succeeded, failed, rejected, expired or cancelled.';
COMMENT ON COLUMN facts.request.error_code IS 'Why it did not succeed; null when it did.';
COMMENT ON COLUMN facts.request.latency_class IS 'background or batch; null for a rejected message that named neither.';
COMMENT ON COLUMN facts.request.operation IS 'chat, embed or rerank.';
COMMENT ON COLUMN facts.request.task IS 'Task family: as declared by the caller, else as recognised.';
COMMENT ON COLUMN facts.request.data_class IS 'public, internal, confidential or regulated.';
COMMENT ON COLUMN facts.request.risk_tier IS 'low, medium or high.';
COMMENT ON COLUMN facts.request.user_tier IS 'The caller''s user tier, where given.';
COMMENT ON COLUMN facts.request.language IS 'ISO 639-1 code of the prompt, und where undetermined.';
COMMENT ON COLUMN facts.request.alias IS 'The alias that the route was chosen by.';
COMMENT ON COLUMN facts.request.provider IS 'gen_ai.provider.name: who answered, or was asked last.';
COMMENT ON COLUMN facts.request.model IS 'gen_ai.request.model: the model asked.';
COMMENT ON COLUMN facts.request.model_version IS 'The catalog''s version of the model.';
COMMENT ON COLUMN facts.request.region IS 'Where the provider processes the data.';
COMMENT ON COLUMN facts.request.tier IS 'standard or batch.';
COMMENT ON COLUMN facts.request.policy_bundle IS 'Content hash of the policy bundle that decided.';
COMMENT ON COLUMN facts.request.input_tokens IS 'gen_ai.usage.input_tokens over all answered attempts, cached ones included.';
COMMENT ON COLUMN facts.request.cached_input_tokens IS 'Part of input_tokens that the provider had cached.';
COMMENT ON COLUMN facts.request.output_tokens IS 'gen_ai.usage.output_tokens over all answered attempts, reasoning included.';
COMMENT ON COLUMN facts.request.reasoning_tokens IS 'Part of output_tokens spent on reasoning.';
COMMENT ON COLUMN facts.request.cost_usd IS 'US dollars over all attempts known at the seal.';
COMMENT ON COLUMN facts.request.cost_dearest_eligible_usd IS 'What the first attempt was estimated to cost on the dearest eligible route, US dollars.';
COMMENT ON COLUMN facts.request.decided_at IS 'When the last decision was made.';
COMMENT ON COLUMN facts.request.started_at IS 'When the first attempt started.';
COMMENT ON COLUMN facts.request.finished_at IS 'When the last attempt finished.';
COMMENT ON COLUMN facts.request.sealed_at IS 'When the record ended.';
COMMENT ON COLUMN facts.request.held_seconds IS 'Seconds waited, by reason.';
COMMENT ON COLUMN facts.request.attempts IS 'How many paid calls were started.';
COMMENT ON COLUMN facts.request.fallbacks IS 'How many of them went to another route than the first.';
COMMENT ON COLUMN facts.request.escalated IS 'Whether an uncertain answer went to a stronger model.';
COMMENT ON COLUMN facts.request.schema_valid IS 'Whether the answer satisfied the schema asked for; null where none was.';
COMMENT ON COLUMN facts.request.replay_of IS 'The record that this one runs again.';

CREATE TABLE facts.attempt (
    record_id           uuid        NOT NULL,
    received_at         timestamptz NOT NULL,
    seq                 integer     NOT NULL,
    attempt             integer     NOT NULL,
    row_kind            text        NOT NULL CHECK (row_kind IN ('attempt', 'late', 'correction')),
    tenant              text        NOT NULL,
    latency_class       text        NOT NULL,
    provider            text        NOT NULL,
    model               text        NOT NULL,
    region              text        NOT NULL,
    tier                text        NOT NULL,
    fallback            boolean     NOT NULL,
    may_double_pay      boolean     NOT NULL,
    worker              uuid        NOT NULL,
    outcome             text        NOT NULL,
    failure_class       text,
    http_status         integer,
    started_at          timestamptz NOT NULL,
    finished_at         timestamptz,
    latency_ms          integer,
    input_tokens        integer     NOT NULL,
    cached_input_tokens integer     NOT NULL,
    output_tokens       integer     NOT NULL,
    reasoning_tokens    integer     NOT NULL,
    cost_usd            numeric     NOT NULL,
    provider_request_id text,
    PRIMARY KEY (record_id, seq, received_at)
) PARTITION BY RANGE (received_at);
COMMENT ON TABLE facts.attempt IS 'Every paid call of every record, late answers and corrections included: sum this table for cost.';
COMMENT ON COLUMN facts.attempt.record_id IS 'The record of the call.';
COMMENT ON COLUMN facts.attempt.received_at IS 'When the record''s job was taken in; the partition key.';
COMMENT ON COLUMN facts.attempt.seq IS 'Position in the chain of the entry that this row comes from: the claim, or the late entry.';
COMMENT ON COLUMN facts.attempt.attempt IS 'Number of the call within the record, from 1.';
COMMENT ON COLUMN facts.attempt.row_kind IS 'attempt; late: an answer that came after the record had gone on; correction: a cost corrected.';
COMMENT ON COLUMN facts.attempt.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.attempt.latency_class IS 'background or batch.';
COMMENT ON COLUMN facts.attempt.provider IS 'gen_ai.provider.name.';
COMMENT ON COLUMN facts.attempt.model IS 'gen_ai.request.model.';
COMMENT ON COLUMN facts.attempt.region IS 'Where the provider processes the data.';
COMMENT ON COLUMN facts.attempt.tier IS 'standard or batch.';
COMMENT ON COLUMN facts.attempt.fallback IS 'Whether the call went to another route than the decision''s first.';
COMMENT ON COLUMN facts.attempt.may_double_pay IS 'Whether an earlier call of the record may have been charged without an answer.';
COMMENT ON COLUMN facts.attempt.worker IS 'The executor process that made the call.';
COMMENT ON COLUMN facts.attempt.outcome IS 'ok, failed, lost, or unknown where the chain has no answer.';
COMMENT ON COLUMN facts.attempt.failure_class IS 'What went wrong, named alike for all vendors.';
COMMENT ON COLUMN facts.attempt.http_status IS 'The provider''s HTTP status.';
COMMENT ON COLUMN facts.attempt.started_at IS 'When the call was claimed.';
COMMENT ON COLUMN facts.attempt.finished_at IS 'When its answer was recorded.';
COMMENT ON COLUMN facts.attempt.latency_ms IS 'Milliseconds from request to answer.';
COMMENT ON COLUMN facts.attempt.input_tokens IS 'gen_ai.usage.input_tokens, cached ones included.';
COMMENT ON COLUMN facts.attempt.cached_input_tokens IS 'Part of input_tokens that the provider had cached.';
COMMENT ON COLUMN facts.attempt.output_tokens IS 'gen_ai.usage.output_tokens, reasoning included.';
COMMENT ON COLUMN facts.attempt.reasoning_tokens IS 'Part of output_tokens spent on reasoning.';
COMMENT ON COLUMN facts.attempt.cost_usd IS 'US dollars; 0 where no charge is known.';
COMMENT ON COLUMN facts.attempt.provider_request_id IS 'The provider''s own id of the call.';

CREATE TABLE facts.request_default PARTITION OF facts.request DEFAULT;
CREATE TABLE facts.attempt_default PARTITION OF facts.attempt DEFAULT;
COMMENT ON TABLE facts.request_default IS 'Must stay empty: a row here means that no partition was made ahead of time.';
COMMENT ON TABLE facts.attempt_default IS 'Must stay empty: a row here means that no partition was made ahead of time.';
SELECT record.protect(t) FROM unnest('{facts.request,facts.attempt,facts.request_default,facts.attempt_default}'::regclass[]) AS t;

CREATE FUNCTION record.ensure_partitions(from_month date, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    v_from    timestamptz;
    v_to      timestamptz;
    v_suffix  text;
    v_made    integer := 0;
    v_parent  text;
    v_name    text;
BEGIN
    -- The lock of migrations: of two that find a partition missing, the second looks again when the first is done.
    PERFORM pg_advisory_xact_lock(727001);
    FOR i IN 0 .. months - 1 LOOP
        v_from := date_trunc('month', from_month::timestamptz) + make_interval(months => i);
        v_to := v_from + interval '1 month';
        v_suffix := to_char(v_from, 'YYYY_MM');
        FOREACH v_parent IN ARRAY '{record.entry,facts.request,facts.attempt}'::text[] LOOP
            v_name := v_parent || '_' || v_suffix;
            CONTINUE WHEN to_regclass(v_name) IS NOT NULL;
            BEGIN
                IF v_parent = 'record.entry' THEN
                    -- A decision has some 2 KB: compressing it would cost more than storing it.
                    EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%L) TO (%L) WITH (toast_tuple_target = 4096)',
                                   v_name, v_parent, record.uuid7_from(v_from), record.uuid7_from(v_to));
                ELSE
                    EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', v_name, v_parent, v_from, v_to);
                END IF;
                PERFORM record.protect(v_name::regclass);
                v_made := v_made + 1;
            EXCEPTION WHEN check_violation THEN
                -- Rows of this month are in the default partition, which works and is an alarm; the others are still made.
                RAISE WARNING '% cannot be made: the default partition holds rows of its range', v_name;
            END;
        END LOOP;
    END LOOP;
    RETURN v_made;
END $$;
COMMENT ON FUNCTION record.ensure_partitions IS 'Makes the monthly partitions of entries and facts ahead of time; returns how many were new.';

CREATE FUNCTION record.default_partition_used() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM record.entry_default) OR EXISTS (SELECT FROM facts.request_default)
        OR EXISTS (SELECT FROM facts.attempt_default)
$$;
COMMENT ON FUNCTION record.default_partition_used IS
    'Whether a row fell into a default partition, which means that a month''s partition was missing.';

CREATE VIEW facts.in_flight AS
SELECT o.record_id,
       o.tenant,
       record.uuid7_time(o.record_id) AS received_at,
       last.kind AS last_kind,
       last.recorded_at AS last_at,
       h.reason AS held_reason,
       h.due AS held_until
FROM record.open_record o
CROSS JOIN LATERAL (
    SELECT e.kind, e.recorded_at FROM record.entry e WHERE e.record_id = o.record_id ORDER BY e.seq DESC LIMIT 1
) AS last
LEFT JOIN record.held h ON h.record_id = o.record_id;
COMMENT ON VIEW facts.in_flight IS 'Records that have no acknowledged result yet, with their last step and why they wait.';

CREATE VIEW facts.cost_by_model_daily AS
SELECT (coalesce(a.finished_at, a.started_at) AT TIME ZONE 'UTC')::date AS day,
       a.tenant, a.provider, a.model, a.region, a.tier,
       count(*) FILTER (WHERE a.row_kind = 'attempt') AS calls,
       sum(a.input_tokens) AS input_tokens,
       sum(a.cached_input_tokens) AS cached_input_tokens,
       sum(a.output_tokens) AS output_tokens,
       sum(a.cost_usd) AS cost_usd
FROM facts.attempt a
GROUP BY 1, 2, 3, 4, 5, 6;
COMMENT ON VIEW facts.cost_by_model_daily IS 'Tokens and US dollars per day (UTC), tenant and model, late answers included.';

CREATE VIEW facts.latency_by_route AS
SELECT a.provider, a.model, a.region, a.tier, a.latency_class,
       count(*) AS calls,
       percentile_cont(0.50) WITHIN GROUP (ORDER BY a.latency_ms) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY a.latency_ms) AS p95_ms,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY a.latency_ms) AS p99_ms
FROM facts.attempt a
WHERE a.outcome = 'ok'
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW facts.latency_by_route IS 'Milliseconds from request to answer of successful calls, by route.';

CREATE VIEW facts.fallback_rate AS
SELECT (r.sealed_at AT TIME ZONE 'UTC')::date AS day, r.tenant, r.alias,
       count(*) AS requests,
       count(*) FILTER (WHERE r.fallbacks > 0) AS with_fallback,
       round(count(*) FILTER (WHERE r.fallbacks > 0) / count(*)::numeric, 4) AS fallback_rate
FROM facts.request r
WHERE r.attempts > 0
GROUP BY 1, 2, 3;
COMMENT ON VIEW facts.fallback_rate IS 'Share of called requests that needed another route than the first, per day (UTC) and alias.';

COMMENT ON COLUMN facts.in_flight.record_id IS 'The record.';
COMMENT ON COLUMN facts.in_flight.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.in_flight.received_at IS 'When the job was taken in.';
COMMENT ON COLUMN facts.in_flight.last_kind IS 'The kind of its last entry.';
COMMENT ON COLUMN facts.in_flight.last_at IS 'When that was made.';
COMMENT ON COLUMN facts.in_flight.held_reason IS 'Why it waits; null if it does not.';
COMMENT ON COLUMN facts.in_flight.held_until IS 'When it goes on by itself; null where a person decides.';
COMMENT ON COLUMN facts.cost_by_model_daily.day IS 'The day, UTC.';
COMMENT ON COLUMN facts.cost_by_model_daily.tenant IS 'Whose jobs.';
COMMENT ON COLUMN facts.cost_by_model_daily.provider IS 'gen_ai.provider.name.';
COMMENT ON COLUMN facts.cost_by_model_daily.model IS 'gen_ai.request.model.';
COMMENT ON COLUMN facts.cost_by_model_daily.region IS 'Where the provider processes the data.';
COMMENT ON COLUMN facts.cost_by_model_daily.tier IS 'standard or batch.';
COMMENT ON COLUMN facts.cost_by_model_daily.calls IS 'Paid calls, answered or not.';
COMMENT ON COLUMN facts.cost_by_model_daily.input_tokens IS 'gen_ai.usage.input_tokens, cached ones included.';
COMMENT ON COLUMN facts.cost_by_model_daily.cached_input_tokens IS 'Part of input_tokens that the provider had cached.';
COMMENT ON COLUMN facts.cost_by_model_daily.output_tokens IS 'gen_ai.usage.output_tokens, reasoning included.';
COMMENT ON COLUMN facts.cost_by_model_daily.cost_usd IS 'US dollars, late answers included.';
COMMENT ON COLUMN facts.latency_by_route.provider IS 'gen_ai.provider.name.';
COMMENT ON COLUMN facts.latency_by_route.model IS 'gen_ai.request.model.';
COMMENT ON COLUMN facts.latency_by_route.region IS 'Where the provider processes the data.';
COMMENT ON COLUMN facts.latency_by_route.tier IS 'standard or batch.';
COMMENT ON COLUMN facts.latency_by_route.latency_class IS 'background or batch.';
COMMENT ON COLUMN facts.latency_by_route.calls IS 'Successful calls.';
COMMENT ON COLUMN facts.latency_by_route.p50_ms IS 'Median, milliseconds.';
COMMENT ON COLUMN facts.latency_by_route.p95_ms IS '95th percentile, milliseconds.';
COMMENT ON COLUMN facts.latency_by_route.p99_ms IS '99th percentile, milliseconds.';
COMMENT ON COLUMN facts.fallback_rate.day IS 'The day on which the records were sealed, UTC.';
COMMENT ON COLUMN facts.fallback_rate.tenant IS 'Whose jobs.';
COMMENT ON COLUMN facts.fallback_rate.alias IS 'The alias that the routes were chosen by.';
COMMENT ON COLUMN facts.fallback_rate.requests IS 'Records with at least one call.';
COMMENT ON COLUMN facts.fallback_rate.with_fallback IS 'Those that needed another route than the first.';
COMMENT ON COLUMN facts.fallback_rate.fallback_rate IS 'Their share, 0 to 1.';
