-- Erasure: who asked for it and how far it is, which subjects are refused, which records belong together.
--
-- What is erased is neither stored nor given out again: whoever stores content looks here after it has written something,
-- so that its transaction has a number by then. Erasing waits until every transaction that had a number when the
-- request was first seen has ended (horizon); what began to write later has seen the request. Nobody waits for a lock.

INSERT INTO record.transition (after, kind) VALUES ('sealed', 'erased'), ('late_result', 'erased'), ('erased', 'late_result');

CREATE TABLE record.replay (
    record_id uuid PRIMARY KEY,
    replay_of uuid NOT NULL
);
COMMENT ON TABLE record.replay IS 'Which record runs which one again, from intake on: they hold the same content and are erased together.';
COMMENT ON COLUMN record.replay.record_id IS 'The replay.';
COMMENT ON COLUMN record.replay.replay_of IS 'The record that it runs again.';
CREATE INDEX replay_of ON record.replay (replay_of);

INSERT INTO record.replay (record_id, replay_of)
SELECT e.record_id, (e.body -> 'data' ->> 'replay_of')::uuid
FROM record.entry e
WHERE e.seq = 0 AND e.body -> 'data' ->> 'replay_of' IS NOT NULL;

CREATE TABLE record.subject (
    tenant       text  NOT NULL,
    subject_hmac bytea NOT NULL,
    record_id    uuid  NOT NULL,
    PRIMARY KEY (tenant, subject_hmac, record_id)
);
COMMENT ON TABLE record.subject IS 'Whose content a record holds, until it is erased: found by an HMAC, and by nothing else.';
COMMENT ON COLUMN record.subject.tenant IS 'Whose job it is.';
COMMENT ON COLUMN record.subject.subject_hmac IS 'HMAC of the subject that the job names, under the tenant''s key.';
COMMENT ON COLUMN record.subject.record_id IS 'The record.';
CREATE INDEX subject_record ON record.subject (record_id);

CREATE TABLE record.erased_subject (
    tenant       text        NOT NULL,
    subject_hmac bytea       NOT NULL,
    erased_at    timestamptz NOT NULL,
    refuse_until timestamptz NOT NULL,
    reason       text        NOT NULL,
    actor        text        NOT NULL,
    request      uuid,
    horizon      xid8,
    PRIMARY KEY (tenant, subject_hmac)
);
COMMENT ON TABLE record.erased_subject IS 'Subjects that were erased: their jobs published before, or read too soon after, are refused.';
COMMENT ON COLUMN record.erased_subject.tenant IS 'Whose subject it is.';
COMMENT ON COLUMN record.erased_subject.subject_hmac IS 'HMAC of the subject under the tenant''s key.';
COMMENT ON COLUMN record.erased_subject.erased_at IS 'When the erasure was asked for; what was published by then is refused for ever.';
COMMENT ON COLUMN record.erased_subject.refuse_until IS 'Until when every job of the subject is refused, for clients'' clocks may lie: by then nothing published before is left on the topic.';
COMMENT ON COLUMN record.erased_subject.reason IS 'Why, as given.';
COMMENT ON COLUMN record.erased_subject.actor IS 'The database login that asked.';
COMMENT ON COLUMN record.erased_subject.request IS 'The request whose records are still to be looked for; null when they are found.';
COMMENT ON COLUMN record.erased_subject.horizon IS 'When every transaction below it has ended, the records can be looked for.';
CREATE INDEX erased_subject_unfound ON record.erased_subject (request) WHERE request IS NOT NULL;

CREATE TABLE record.erasure (
    record_id uuid        PRIMARY KEY,
    request   uuid        NOT NULL,
    tenant    text        NOT NULL,
    cause     text        NOT NULL CHECK (cause IN ('record', 'subject', 'replay', 'retention')),
    reason    text        NOT NULL,
    actor     text        NOT NULL,
    asked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    horizon   xid8,
    begun_at  timestamptz,
    done_at   timestamptz
);
COMMENT ON TABLE record.erasure IS 'Records whose content is erased, or being erased: from here on it is neither stored nor given out.';
COMMENT ON COLUMN record.erasure.record_id IS 'The record.';
COMMENT ON COLUMN record.erasure.request IS 'What was asked for together.';
COMMENT ON COLUMN record.erasure.tenant IS 'Whose job it is.';
COMMENT ON COLUMN record.erasure.cause IS 'record: it was named; subject: its subject was; replay: it holds the content of one that is erased; retention: its time was up.';
COMMENT ON COLUMN record.erasure.reason IS 'Why, as given.';
COMMENT ON COLUMN record.erasure.actor IS 'The database login that asked.';
COMMENT ON COLUMN record.erasure.asked_at IS 'When it was asked for.';
COMMENT ON COLUMN record.erasure.horizon IS 'When every transaction below it has ended, nobody stores content of the record any more.';
COMMENT ON COLUMN record.erasure.begun_at IS 'When it was entered in the log and in what the record will say; null until then.';
COMMENT ON COLUMN record.erasure.done_at IS 'When key and content were gone.';
CREATE INDEX erasure_request ON record.erasure (request);
CREATE INDEX erasure_under_way ON record.erasure (asked_at) WHERE done_at IS NULL;

CREATE FUNCTION record.keepable(p_records uuid[]) RETURNS TABLE (record_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.id FROM unnest(p_records) AS r (id)
    WHERE NOT EXISTS (SELECT FROM record.erasure e WHERE e.record_id = r.id)
$$;
COMMENT ON FUNCTION record.keepable IS
    'Which of these records may keep content: those that are not being erased. Volatile: it looks when it is called, not when the statement began.';

CREATE OR REPLACE FUNCTION vault.hand_out(p_record uuid, p_access uuid) RETURNS SETOF vault.content
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.*
    FROM record.access_log l
    JOIN vault.content c ON c.record_id = l.record_id AND c.entry_id = l.entry_id AND c.kind = l.kind
    WHERE l.record_id = p_record AND l.access_id = p_access AND l.login = session_user
        AND l.asked_at > clock_timestamp() - interval '5 minutes'
        AND l.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
        AND NOT EXISTS (SELECT FROM record.erasure e WHERE e.record_id = p_record)
$$;

CREATE FUNCTION record.family(p_records uuid[]) RETURNS TABLE (record_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE relative (id) AS (
        SELECT unnest(p_records)
        UNION
        SELECT n.id
        FROM relative r
        CROSS JOIN LATERAL (
            SELECT p.replay_of FROM record.replay p WHERE p.record_id = r.id
            UNION ALL
            SELECT p.record_id FROM record.replay p WHERE p.replay_of = r.id
        ) AS n (id)
    )
    SELECT id FROM relative
$$;
COMMENT ON FUNCTION record.family IS 'The records given, and all that hold the same content: what they replay and what replays them, however far.';

CREATE FUNCTION record.erase(p_request uuid, p_records uuid[], p_cause text, p_reason text, p_actor text)
RETURNS TABLE (record_id uuid, state text)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    WITH wanted AS MATERIALIZED (
        SELECT f.record_id, e.record_id IS NOT NULL AS known, coalesce(e.body -> 'data' ->> 'tenant', '') AS tenant,
               o.record_id IS NOT NULL AS stands, o.done_at
        FROM record.family(p_records) f
        LEFT JOIN record.entry e ON e.record_id = f.record_id AND e.seq = 0
        LEFT JOIN record.erasure o ON o.record_id = f.record_id
    ), asked AS (
        INSERT INTO record.erasure (record_id, request, tenant, cause, reason, actor)
        SELECT w.record_id, p_request, w.tenant, CASE WHEN w.record_id = ANY (p_records) THEN p_cause ELSE 'replay' END,
               p_reason, p_actor
        FROM wanted w WHERE w.known AND NOT w.stands
        ORDER BY w.record_id
        ON CONFLICT DO NOTHING
    )
    SELECT w.record_id,
           CASE WHEN NOT w.known THEN 'unknown' WHEN w.done_at IS NOT NULL THEN 'erased_before' ELSE 'asked' END
    FROM wanted w
$$;
COMMENT ON FUNCTION record.erase IS 'Puts records and their families on the list, and says of each whether it is unknown, was erased before, or is on it now.';

CREATE FUNCTION record.ask_erasure(request uuid, records uuid[], reason text) RETURNS TABLE (record_id uuid, state text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.record_id, e.state FROM record.erase(request, records, 'record', reason, session_user) e
$$;
COMMENT ON FUNCTION record.ask_erasure IS
    'Asks for the erasure of records and of what replays them or is replayed by them; the actor is the login. A recorder does it.';

CREATE FUNCTION record.ask_erasure_of_subject(
    request uuid, tenant text, subject_hmac bytea, reason text, erased_at timestamptz, refuse_until timestamptz
) RETURNS TABLE (record_id uuid, state text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO record.erased_subject AS s (tenant, subject_hmac, erased_at, refuse_until, reason, actor, request)
    VALUES (ask_erasure_of_subject.tenant, ask_erasure_of_subject.subject_hmac, ask_erasure_of_subject.erased_at,
            ask_erasure_of_subject.refuse_until, ask_erasure_of_subject.reason, session_user, ask_erasure_of_subject.request)
    ON CONFLICT ON CONSTRAINT erased_subject_pkey DO UPDATE
    SET erased_at = greatest(s.erased_at, excluded.erased_at), refuse_until = greatest(s.refuse_until, excluded.refuse_until),
        reason = excluded.reason, actor = excluded.actor, request = excluded.request, horizon = NULL;
    SELECT e.record_id, e.state
    FROM record.erase(
        ask_erasure_of_subject.request,
        (SELECT coalesce(array_agg(k.record_id), '{}') FROM record.subject k
         WHERE k.tenant = ask_erasure_of_subject.tenant AND k.subject_hmac = ask_erasure_of_subject.subject_hmac),
        'subject', ask_erasure_of_subject.reason, session_user) e
$$;
COMMENT ON FUNCTION record.ask_erasure_of_subject IS
    'Puts a subject on the list of those refused, and asks for the erasure of its records: returns those known now, a recorder finds the rest.';

CREATE FUNCTION record.sealed_before(after timestamptz, after_id uuid, before timestamptz, at_most integer)
RETURNS TABLE (record_id uuid, tenant text, data_class text, sealed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.record_id, r.tenant, r.data_class, r.sealed_at
    FROM facts.request r
    WHERE (r.sealed_at, r.record_id) > (after, after_id) AND r.sealed_at < before
    ORDER BY r.sealed_at, r.record_id
    LIMIT at_most
$$;
COMMENT ON FUNCTION record.sealed_before IS 'The next sealed records in the order of their ends, up to a time: what retention looks through, once.';
CREATE INDEX request_sealed ON facts.request (sealed_at, record_id);

-- Whoever stores, reads or carries content on asks whether it is erased; why and by whom is for people.
GRANT SELECT (record_id) ON record.erasure TO waybill_classifier, waybill_router, waybill_executor;
GRANT SELECT ON record.erased_subject TO waybill_classifier;
GRANT INSERT ON record.subject, record.replay TO waybill_classifier;
GRANT EXECUTE ON FUNCTION record.keepable TO waybill_classifier, waybill_executor;

-- The recorder erases. People only ask, by functions that take the login for the actor.
GRANT SELECT, INSERT, UPDATE (horizon, begun_at, done_at) ON record.erasure TO waybill_recorder;
GRANT SELECT, UPDATE (horizon, request) ON record.erased_subject TO waybill_recorder;
GRANT SELECT, DELETE ON record.subject TO waybill_recorder;
GRANT INSERT ON record.aside TO waybill_recorder;
GRANT DELETE ON vault.content TO waybill_recorder;
GRANT EXECUTE ON FUNCTION record.family, record.erase, record.sealed_before TO waybill_recorder;
GRANT SELECT ON record.erasure, record.erased_subject, record.subject, record.replay TO waybill_oncall;
GRANT EXECUTE ON FUNCTION record.family, record.ask_erasure, record.ask_erasure_of_subject TO waybill_oncall;
