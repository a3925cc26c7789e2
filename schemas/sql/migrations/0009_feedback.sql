-- Feedback: people's verdicts on answers, as entries behind the seal and as facts.

INSERT INTO record.transition (after, kind)
SELECT after, unnest(string_to_array(kinds, ' '))
FROM (VALUES
    ('sealed', 'feedback'),
    ('late_result', 'feedback'),
    ('erased', 'feedback'),
    ('feedback', 'feedback late_result erased')
) AS rule (after, kinds);

-- Taking feedback in: whose record a key or an id names, what it was given already, and what is put aside for the seal.
GRANT SELECT (tenant, key_hmac, record_id) ON record.idempotency TO waybill_recorder;
GRANT INSERT ON record.aside TO waybill_recorder;

CREATE TABLE facts.feedback (
    record_id   uuid             NOT NULL,
    received_at timestamptz      NOT NULL,
    seq         integer          NOT NULL,
    tenant      text             NOT NULL,
    given_at    timestamptz      NOT NULL,
    verdict     text             NOT NULL CHECK (verdict IN ('accepted', 'edited', 're_asked', 'escalated', 'rejected')),
    edit_ratio  double precision,
    reason_code text,
    PRIMARY KEY (record_id, seq, received_at)
) PARTITION BY RANGE (received_at);
COMMENT ON TABLE facts.feedback IS 'What people thought of answers, one row per verdict; a record may have several, and the last by seq counts.';
COMMENT ON COLUMN facts.feedback.record_id IS 'The record of the answer.';
COMMENT ON COLUMN facts.feedback.received_at IS 'When the record''s job was taken in; the partition key.';
COMMENT ON COLUMN facts.feedback.seq IS 'Position in the chain of the entry that this row comes from.';
COMMENT ON COLUMN facts.feedback.tenant IS 'Whose job it is.';
COMMENT ON COLUMN facts.feedback.given_at IS 'When the verdict was recorded.';
COMMENT ON COLUMN facts.feedback.verdict IS 'accepted, edited, re_asked, escalated or rejected.';
COMMENT ON COLUMN facts.feedback.edit_ratio IS 'How much of the answer was changed, 0 to 1; null where not said.';
COMMENT ON COLUMN facts.feedback.reason_code IS 'The backend''s own code of a reason; null where none was given.';

CREATE TABLE facts.feedback_default PARTITION OF facts.feedback DEFAULT;
COMMENT ON TABLE facts.feedback_default IS 'Must stay empty: a row here means that no partition was made ahead of time.';
SELECT record.protect('facts.feedback'), record.protect('facts.feedback_default');

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
        FOREACH v_parent IN ARRAY '{record.entry,facts.request,facts.attempt,facts.source,facts.feedback}'::text[] LOOP
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
        OR EXISTS (SELECT FROM facts.feedback_default)
$$;

-- Months that the other tables have already.
SELECT record.ensure_partitions(to_date(right(i.inhrelid::regclass::text, 7), 'YYYY_MM'), 1)
FROM pg_inherits i
WHERE i.inhparent = 'facts.request'::regclass AND i.inhrelid <> 'facts.request_default'::regclass;

-- A rebuild knows the new table.

CREATE OR REPLACE FUNCTION facts.begin_rebuild(month date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    v_suffix text := to_char(month, 'YYYY_MM');
    v_table  text;
BEGIN
    PERFORM record.ensure_partitions(month, 1);
    FOREACH v_table IN ARRAY '{request,attempt,source,feedback}'::text[] LOOP
        IF to_regclass(format('facts.%s_%s', v_table, v_suffix)) IS NULL THEN
            RAISE EXCEPTION 'facts.%_default holds rows of %', v_table, v_suffix;
        END IF;
        EXECUTE format('DROP TABLE IF EXISTS facts.%s_%s_fresh', v_table, v_suffix);
        EXECUTE format('CREATE TABLE facts.%1$s_%2$s_fresh (LIKE facts.%1$s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
                       v_table, v_suffix);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION facts.missed_by_rebuild(month date) RETURNS TABLE (record_id uuid)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    v_suffix text := to_char(month, 'YYYY_MM');
BEGIN
    -- The order in which recorders write.
    LOCK TABLE facts.request, facts.attempt, facts.source, facts.feedback IN ACCESS EXCLUSIVE MODE;
    RETURN QUERY EXECUTE format(
        'SELECT n.record_id FROM (SELECT record_id, seq FROM facts.attempt_%1$s EXCEPT SELECT record_id, seq FROM facts.attempt_%1$s_fresh) AS n
         UNION
         SELECT n.record_id FROM (SELECT record_id, seq FROM facts.feedback_%1$s EXCEPT SELECT record_id, seq FROM facts.feedback_%1$s_fresh) AS n
         UNION
         SELECT n.record_id FROM (SELECT record_id FROM facts.request_%1$s EXCEPT SELECT record_id FROM facts.request_%1$s_fresh) AS n', v_suffix);
END $$;

CREATE OR REPLACE FUNCTION facts.forget_rebuilt(month date, records uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    v_table text;
BEGIN
    FOREACH v_table IN ARRAY '{request,attempt,source,feedback}'::text[] LOOP
        EXECUTE format('DELETE FROM facts.%s_%s_fresh WHERE record_id = ANY ($1)', v_table, to_char(month, 'YYYY_MM')) USING records;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION facts.finish_rebuild(month date) RETURNS TABLE (name text, rows bigint)
LANGUAGE plpgsql SET search_path = pg_catalog SET timezone = 'UTC' AS $$
DECLARE
    v_from  timestamptz := date_trunc('month', month::timestamptz);
    v_table text;
    v_name  text;
BEGIN
    FOREACH v_table IN ARRAY '{request,attempt,source,feedback}'::text[] LOOP
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

CREATE VIEW facts.feedback_by_model AS
SELECT (f.given_at AT TIME ZONE 'UTC')::date AS day, r.tenant, r.provider, r.model, r.task,
       count(*) AS verdicts,
       count(*) FILTER (WHERE f.verdict = 'accepted') AS accepted,
       count(*) FILTER (WHERE f.verdict = 'edited') AS edited,
       count(*) FILTER (WHERE f.verdict = 're_asked') AS re_asked,
       count(*) FILTER (WHERE f.verdict = 'escalated') AS escalated,
       count(*) FILTER (WHERE f.verdict = 'rejected') AS rejected,
       avg(f.edit_ratio) AS mean_edit_ratio
FROM facts.feedback f
JOIN facts.request r ON r.record_id = f.record_id AND r.received_at = f.received_at
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW facts.feedback_by_model IS 'Verdicts on answers per day (UTC), tenant, model and task; a record with several counts several times.';
COMMENT ON COLUMN facts.feedback_by_model.day IS 'The day on which they were recorded, UTC.';
COMMENT ON COLUMN facts.feedback_by_model.tenant IS 'Whose jobs.';
COMMENT ON COLUMN facts.feedback_by_model.provider IS 'gen_ai.provider.name: who answered last.';
COMMENT ON COLUMN facts.feedback_by_model.model IS 'gen_ai.request.model.';
COMMENT ON COLUMN facts.feedback_by_model.task IS 'Task family.';
COMMENT ON COLUMN facts.feedback_by_model.verdicts IS 'How many verdicts.';
COMMENT ON COLUMN facts.feedback_by_model.accepted IS 'Answers taken as they were.';
COMMENT ON COLUMN facts.feedback_by_model.edited IS 'Answers that had to be changed.';
COMMENT ON COLUMN facts.feedback_by_model.re_asked IS 'Answers after which the question was asked again.';
COMMENT ON COLUMN facts.feedback_by_model.escalated IS 'Answers that somebody else had to deal with.';
COMMENT ON COLUMN facts.feedback_by_model.rejected IS 'Answers that were thrown away.';
COMMENT ON COLUMN facts.feedback_by_model.mean_edit_ratio IS 'Mean of the shares changed, where said.';

-- Analysts read what is new by default privileges.
GRANT INSERT ON facts.feedback TO waybill_recorder;
GRANT SELECT ON facts.feedback, facts.feedback_by_model TO waybill_oncall;
