-- The redacted text of a job: a kind of content of its own, which may be read without the rest.

COMMENT ON COLUMN vault.content.kind IS
    'job, redacted (what a model reads of the job, without what was found in it), request (as it was sent) or output.';
COMMENT ON COLUMN record.access_log.kind IS 'job, redacted, request or output.';

CREATE FUNCTION vault.ask_for(p_record uuid, p_reason text, p_kind text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_access uuid := gen_random_uuid();
    v_now    timestamptz := clock_timestamp();
BEGIN
    -- Whatever Unicode has for white space and for nothing at all.
    IF regexp_replace(coalesce(p_reason, ''),
            '[\s\u0001-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0]',
            '', 'g') = '' THEN
        RAISE EXCEPTION 'content is read for a reason only' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO record.access_log (access_id, record_id, entry_id, kind, reason, asked_at)
    SELECT v_access, c.record_id, c.entry_id, c.kind, p_reason, v_now
    FROM vault.content c
    WHERE c.record_id = p_record AND (p_kind IS NULL OR c.kind = p_kind);
    RETURN CASE WHEN FOUND THEN v_access END;
END $$;
COMMENT ON FUNCTION vault.ask_for IS
    'Notes in the access log that this login reads content of a record, of one kind or of all where it is null, and why. Returns what vault.hand_out takes once this has been committed, or null where there is no such content.';

CREATE OR REPLACE FUNCTION vault.ask(p_record uuid, p_reason text) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT vault.ask_for(p_record, p_reason, NULL)
$$;

GRANT EXECUTE ON FUNCTION vault.ask_for TO waybill_oncall;
