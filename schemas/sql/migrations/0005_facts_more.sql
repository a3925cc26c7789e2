-- More facts: documents given, estimates, what a provider said of its answer; views of reasons, findings, checks, waits
-- and replays; indexes for months of data; fresh partitions for a rebuild.

ALTER TABLE facts.request
    ADD COLUMN cost_estimate_usd          numeric,
    ADD COLUMN cost_cheapest_eligible_usd numeric;
COMMENT ON COLUMN facts.request.cost_estimate_usd IS 'What the first attempt was estimated to cost on the route chosen, US dollars.';
COMMENT ON COLUMN facts.request.cost_cheapest_eligible_usd IS 'What the first attempt was estimated to cost on the cheapest eligible route, US dollars.';

ALTER TABLE facts.attempt
    ADD COLUMN response_model text,
    ADD COLUMN finish_reason  text;
COMMENT ON COLUMN facts.attempt.response_model IS 'gen_ai.response.model: the model that the provider says answered; null for late answers.';
COMMENT ON COLUMN facts.attempt.finish_reason IS 'gen_ai.response.finish_reasons: why the answer ended, such as stop or length; null for late answers.';

CREATE TABLE facts.source (
    record_id       uuid        NOT NULL,
    received_at     timestamptz NOT NULL,
    position        integer     NOT NULL,
    tenant          text        NOT NULL,
    trust           text        NOT NULL,
    source_kind     text,
    document_digest text        NOT NULL,
    source_digest   text,
    characters      integer     NOT NULL,
    PRIMARY KEY (record_id, position, received_at)
) PARTITION BY RANGE (received_at);
COMMENT ON TABLE facts.source IS 'Documents given with a job, one row each. Digests are keyed per record: they compare within one, never across.';
COMMENT ON COLUMN facts.source.record_id IS 'The record of the job.';
COMMENT ON COLUMN facts.source.received_at IS 'When the record''s job was taken in; the partition key.';
COMMENT ON COLUMN facts.source.position IS 'Number of the document within the job, from 1.';
COMMENT ON COLUMN facts.source.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.source.trust IS 'How far the caller trusts it: trusted, internal, web, email, upload or untrusted.';
COMMENT ON COLUMN facts.source.source_kind IS 'How the caller named its source: url or name; null where it named none.';
COMMENT ON COLUMN facts.source.document_digest IS 'HMAC-SHA256 of the document''s id, hex, under a key that is erased with the content.';
COMMENT ON COLUMN facts.source.source_digest IS 'HMAC-SHA256 of its source, hex, under the same key; null where none was named.';
COMMENT ON COLUMN facts.source.characters IS 'Length of its text, in code points.';

CREATE TABLE facts.source_default PARTITION OF facts.source DEFAULT;
COMMENT ON TABLE facts.source_default IS 'Must stay empty: a row here means that no partition was made ahead of time.';
SELECT record.protect('facts.source'), record.protect('facts.source_default');

-- Rows come nearly in the order of time, so that BRIN indexes find a day in a month's partition and cost inserts nothing.
CREATE INDEX request_day ON facts.request USING brin (sealed_at, ((sealed_at AT TIME ZONE 'UTC')::date))
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX attempt_day ON facts.attempt USING brin (((coalesce(finished_at, started_at) AT TIME ZONE 'UTC')::date))
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX request_replay_of ON facts.request (replay_of) WHERE replay_of IS NOT NULL;

CREATE OR REPLACE FUNCTION record.ensure_partitions(from_month date, months integer) RETURNS integer
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
        FOREACH v_parent IN ARRAY '{record.entry,facts.request,facts.attempt,facts.source}'::text[] LOOP
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

CREATE OR REPLACE FUNCTION record.default_partition_used() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM record.entry_default) OR EXISTS (SELECT FROM facts.request_default)
        OR EXISTS (SELECT FROM facts.attempt_default) OR EXISTS (SELECT FROM facts.source_default)
$$;

-- Months that the other tables have already.
SELECT record.ensure_partitions(to_date(right(i.inhrelid::regclass::text, 7), 'YYYY_MM'), 1)
FROM pg_inherits i
WHERE i.inhparent = 'facts.request'::regclass AND i.inhrelid <> 'facts.request_default'::regclass;

-- A rebuild fills fresh tables beside a month's partitions, then takes their place in one transaction.

CREATE FUNCTION facts.begin_rebuild(month date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    v_suffix text := to_char(month, 'YYYY_MM');
    v_table  text;
BEGIN
    PERFORM record.ensure_partitions(month, 1);
    FOREACH v_table IN ARRAY '{request,attempt,source}'::text[] LOOP
        IF to_regclass(format('facts.%s_%s', v_table, v_suffix)) IS NULL THEN
            RAISE EXCEPTION 'facts.%_default holds rows of %', v_table, v_suffix;
        END IF;
        EXECUTE format('DROP TABLE IF EXISTS facts.%s_%s_fresh', v_table, v_suffix);
        EXECUTE format('CREATE TABLE facts.%1$s_%2$s_fresh (LIKE facts.%1$s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
                       v_table, v_suffix);
    END LOOP;
END $$;
COMMENT ON FUNCTION facts.begin_rebuild IS 'Makes the empty tables that a rebuild of one month fills, and drops those that an interrupted one left.';

CREATE FUNCTION facts.missed_by_rebuild(month date) RETURNS TABLE (record_id uuid)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    v_suffix text := to_char(month, 'YYYY_MM');
BEGIN
    -- The order in which recorders write.
    LOCK TABLE facts.request, facts.attempt, facts.source IN ACCESS EXCLUSIVE MODE;
    RETURN QUERY EXECUTE format(
        'SELECT n.record_id FROM (SELECT record_id, seq FROM facts.attempt_%1$s EXCEPT SELECT record_id, seq FROM facts.attempt_%1$s_fresh) AS n
         UNION
         SELECT n.record_id FROM (SELECT record_id FROM facts.request_%1$s EXCEPT SELECT record_id FROM facts.request_%1$s_fresh) AS n', v_suffix);
END $$;
COMMENT ON FUNCTION facts.missed_by_rebuild IS 'Keeps recorders waiting until the transaction ends, and returns the records with rows that the fresh tables lack.';

CREATE FUNCTION facts.forget_rebuilt(month date, records uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY '{request,attempt,source}'::text[] LOOP
        EXECUTE format('DELETE FROM facts.%s_%s_fresh WHERE record_id = ANY ($1)', v_table, to_char(month, 'YYYY_MM')) USING records;
    END LOOP;
END $$;
COMMENT ON FUNCTION facts.forget_rebuilt IS 'Empties the fresh tables of some records, for their rows to be made again.';

CREATE FUNCTION facts.finish_rebuild(month date) RETURNS TABLE (name text, rows bigint)
LANGUAGE plpgsql SET search_path = pg_catalog SET timezone = 'UTC' AS $$
DECLARE
    v_from  timestamptz := date_trunc('month', month::timestamptz);
    v_table text;
    v_name  text;
BEGIN
    FOREACH v_table IN ARRAY '{request,attempt,source}'::text[] LOOP
        v_name := format('facts.%s_%s', v_table, to_char(v_from, 'YYYY_MM'));
        EXECUTE format('ALTER TABLE facts.%s DETACH PARTITION %s', v_table, v_name);
        EXECUTE format('DROP TABLE %s', v_name);
        EXECUTE format('ALTER TABLE %s_fresh RENAME TO %s', v_name, split_part(v_name, '.', 2));
        EXECUTE format('ALTER TABLE facts.%s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                       v_table, v_name, v_from, v_from + interval '1 month');
        PERFORM record.protect(v_name::regclass);
        RETURN QUERY EXECUTE format('SELECT %L, count(*) FROM %s', v_table, v_name);
    END LOOP;
END $$;
COMMENT ON FUNCTION facts.finish_rebuild IS 'Puts the fresh tables in the place of a month''s partitions; returns how many rows each has.';

CREATE FUNCTION facts.schema_version() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(version) FROM migration.applied
$$;
COMMENT ON FUNCTION facts.schema_version IS 'The number of the last migration: which columns there are.';

CREATE FUNCTION facts.id_from(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT record.uuid7_from(at)
$$;
COMMENT ON FUNCTION facts.id_from IS 'The smallest record_id of a moment. Bound record_id by it in views over the entries, and only those months are read.';

CREATE VIEW facts.decision_reason AS
SELECT e.record_id,
       record.uuid7_time(e.record_id) AS received_at,
       e.seq,
       r.position::integer AS position,
       e.recorded_at AS decided_at,
       r.reason ->> 'code' AS code,
       r.reason ->> 'rule' AS rule,
       r.reason ->> 'text' AS text
FROM record.entry e
CROSS JOIN LATERAL json_array_elements(e.body -> 'data' -> 'decision' -> 'reasons') WITH ORDINALITY AS r (reason, position)
WHERE e.kind = 'decided';
COMMENT ON VIEW facts.decision_reason IS 'Why each decision is as it is, one row per reason. Reads the entries: bound record_id by facts.id_from.';
COMMENT ON COLUMN facts.decision_reason.record_id IS 'The record.';
COMMENT ON COLUMN facts.decision_reason.received_at IS 'When its job was taken in, to the millisecond.';
COMMENT ON COLUMN facts.decision_reason.seq IS 'Position in the chain of the decision; a record can have several.';
COMMENT ON COLUMN facts.decision_reason.position IS 'Number of the reason within the decision, from 1.';
COMMENT ON COLUMN facts.decision_reason.decided_at IS 'When it was decided.';
COMMENT ON COLUMN facts.decision_reason.code IS 'Stable code of the reason.';
COMMENT ON COLUMN facts.decision_reason.rule IS 'The policy rule that said so; null where none did.';
COMMENT ON COLUMN facts.decision_reason.text IS 'The reason in words for people.';

CREATE VIEW facts.finding AS
SELECT e.record_id,
       record.uuid7_time(e.record_id) AS received_at,
       e.seq,
       f.position::integer AS position,
       f.finding ->> 'type' AS type,
       (f.finding ->> 'text')::integer AS text_number,
       (f.finding ->> 'start')::integer AS start_character,
       (f.finding ->> 'end')::integer AS end_character,
       (f.finding ->> 'confidence')::double precision AS confidence,
       f.finding ->> 'detector' AS detector
FROM record.entry e
CROSS JOIN LATERAL json_array_elements(e.body -> 'data' -> 'findings') WITH ORDINALITY AS f (finding, position)
WHERE e.kind = 'classified';
COMMENT ON VIEW facts.finding IS 'What was found in each job and where, never the value. Reads the entries: bound record_id by facts.id_from.';
COMMENT ON COLUMN facts.finding.record_id IS 'The record.';
COMMENT ON COLUMN facts.finding.received_at IS 'When its job was taken in, to the millisecond.';
COMMENT ON COLUMN facts.finding.seq IS 'Position in the chain of the entry that says so.';
COMMENT ON COLUMN facts.finding.position IS 'Number of the finding within the job, from 1.';
COMMENT ON COLUMN facts.finding.type IS 'What was found, such as email.';
COMMENT ON COLUMN facts.finding.text_number IS 'In which of the job''s texts, from 0.';
COMMENT ON COLUMN facts.finding.start_character IS 'Where it begins there, in code points from 0.';
COMMENT ON COLUMN facts.finding.end_character IS 'Where it ends there; exclusive.';
COMMENT ON COLUMN facts.finding.confidence IS 'How sure the detector is, 0 to 1.';
COMMENT ON COLUMN facts.finding.detector IS 'Which detector found it.';

CREATE VIEW facts.validation AS
SELECT e.record_id,
       record.uuid7_time(e.record_id) AS received_at,
       e.seq,
       c.position::integer AS position,
       e.recorded_at AS validated_at,
       (SELECT s.seq FROM record.entry s
        WHERE s.record_id = e.record_id AND s.entry_id = (e.body -> 'data' ->> 'claim')::uuid) AS attempt_seq,
       c.checked ->> 'name' AS check_name,
       c.checked ->> 'result' AS result
FROM record.entry e
CROSS JOIN LATERAL json_array_elements(e.body -> 'data' -> 'checks') WITH ORDINALITY AS c (checked, position)
WHERE e.kind = 'validated';
COMMENT ON VIEW facts.validation IS 'Every check of every answer. Reads the entries: bound record_id by facts.id_from.';
COMMENT ON COLUMN facts.validation.record_id IS 'The record.';
COMMENT ON COLUMN facts.validation.received_at IS 'When its job was taken in, to the millisecond.';
COMMENT ON COLUMN facts.validation.seq IS 'Position in the chain of the entry that says so.';
COMMENT ON COLUMN facts.validation.position IS 'Number of the check within it, from 1.';
COMMENT ON COLUMN facts.validation.validated_at IS 'When the answer was checked.';
COMMENT ON COLUMN facts.validation.attempt_seq IS 'The call that brought the answer: seq in facts.attempt.';
COMMENT ON COLUMN facts.validation.check_name IS 'Which check, such as schema.';
COMMENT ON COLUMN facts.validation.result IS 'pass, fail, or error where it could not be made.';

CREATE VIEW facts.schema_validity AS
SELECT (r.sealed_at AT TIME ZONE 'UTC')::date AS day, r.tenant, r.provider, r.model, r.task,
       count(*) AS answers,
       count(*) FILTER (WHERE r.schema_valid) AS valid,
       round(count(*) FILTER (WHERE r.schema_valid) / count(*)::numeric, 4) AS validity
FROM facts.request r
WHERE r.schema_valid IS NOT NULL
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW facts.schema_validity IS 'Share of last answers that satisfied the schema or JSON asked for, per day (UTC), model and task.';
COMMENT ON COLUMN facts.schema_validity.day IS 'The day on which the records were sealed, UTC.';
COMMENT ON COLUMN facts.schema_validity.tenant IS 'Whose jobs.';
COMMENT ON COLUMN facts.schema_validity.provider IS 'gen_ai.provider.name: who answered last.';
COMMENT ON COLUMN facts.schema_validity.model IS 'gen_ai.request.model.';
COMMENT ON COLUMN facts.schema_validity.task IS 'Task family.';
COMMENT ON COLUMN facts.schema_validity.answers IS 'Records whose answer had to satisfy a schema.';
COMMENT ON COLUMN facts.schema_validity.valid IS 'Those whose answer did.';
COMMENT ON COLUMN facts.schema_validity.validity IS 'Their share, 0 to 1.';

CREATE VIEW facts.held AS
SELECT r.record_id, r.received_at, r.tenant, r.latency_class, h.reason, h.seconds::numeric AS seconds
FROM facts.request r
CROSS JOIN LATERAL jsonb_each_text(r.held_seconds) AS h (reason, seconds)
WHERE r.held_seconds <> '{}';
COMMENT ON VIEW facts.held IS 'How long records that have ended had to wait: one row per record and reason.';
COMMENT ON COLUMN facts.held.record_id IS 'The record.';
COMMENT ON COLUMN facts.held.received_at IS 'When its job was taken in.';
COMMENT ON COLUMN facts.held.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.held.latency_class IS 'background or batch.';
COMMENT ON COLUMN facts.held.reason IS 'Why it waited.';
COMMENT ON COLUMN facts.held.seconds IS 'How long, over all its waits for this reason.';

CREATE VIEW facts.replay_lineage AS
WITH RECURSIVE lineage AS (
    SELECT r.replay_of AS root_id, 1 AS generation, r.record_id, r.replay_of, r.tenant, r.received_at, r.status
    FROM facts.request r
    WHERE r.replay_of IS NOT NULL
      AND NOT EXISTS (SELECT FROM facts.request p WHERE p.record_id = r.replay_of AND p.replay_of IS NOT NULL)
    UNION ALL
    SELECT l.root_id, l.generation + 1, r.record_id, r.replay_of, r.tenant, r.received_at, r.status
    FROM lineage l
    JOIN facts.request r ON r.replay_of = l.record_id
)
SELECT l.root_id, o.status AS root_status, l.generation, l.record_id, l.replay_of, l.tenant, l.received_at, l.status
FROM lineage l
LEFT JOIN facts.request o ON o.record_id = l.root_id;
COMMENT ON VIEW facts.replay_lineage IS 'Every replay that has ended, with the record that its line of replays began with.';
COMMENT ON COLUMN facts.replay_lineage.root_id IS 'The record that was replayed first.';
COMMENT ON COLUMN facts.replay_lineage.root_status IS 'How that one ended.';
COMMENT ON COLUMN facts.replay_lineage.generation IS '1 for a replay of it, 2 for a replay of that, and so on.';
COMMENT ON COLUMN facts.replay_lineage.record_id IS 'The replay.';
COMMENT ON COLUMN facts.replay_lineage.replay_of IS 'The record that it runs again.';
COMMENT ON COLUMN facts.replay_lineage.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.replay_lineage.received_at IS 'When the replay was taken in.';
COMMENT ON COLUMN facts.replay_lineage.status IS 'How the replay ended.';

-- Analysts read what is new by default privileges. Rebuilding is the owner's.
GRANT INSERT ON facts.source TO waybill_recorder;
GRANT SELECT ON facts.source, facts.decision_reason, facts.finding, facts.validation, facts.schema_validity, facts.held,
    facts.replay_lineage TO waybill_oncall;
GRANT EXECUTE ON FUNCTION facts.id_from, facts.schema_version TO analyst, waybill_oncall;
