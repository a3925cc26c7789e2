-- Reading content: people read it for a reason only, and who did, when and why stays in the record.

COMMENT ON COLUMN vault.content.kind IS 'job, request (as it was sent) or output.';

CREATE TABLE record.access_log (
    access_id uuid        NOT NULL,
    record_id uuid        NOT NULL,
    entry_id  uuid        NOT NULL,
    kind      text        NOT NULL,
    reason    text        NOT NULL CHECK (length(reason) <= 1000),
    login     text        NOT NULL DEFAULT session_user,
    asked_at  timestamptz NOT NULL,
    xid       xid8        NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (record_id, access_id, entry_id, kind)
);
COMMENT ON TABLE record.access_log IS
    'Who was handed which content, and why: one row for each piece, stored before it is handed out. Append-only.';
COMMENT ON COLUMN record.access_log.access_id IS 'One reading of one record: its pieces share it.';
COMMENT ON COLUMN record.access_log.record_id IS 'The record.';
COMMENT ON COLUMN record.access_log.entry_id IS 'The entry whose digest covers the content.';
COMMENT ON COLUMN record.access_log.kind IS 'job, request or output.';
COMMENT ON COLUMN record.access_log.reason IS 'Why, in the words of whoever read it.';
COMMENT ON COLUMN record.access_log.login IS 'The database login that read it.';
COMMENT ON COLUMN record.access_log.asked_at IS 'When, by the database''s clock.';
COMMENT ON COLUMN record.access_log.xid IS 'The transaction that stored the row: content is handed out in a later one.';
SELECT record.protect('record.access_log');

-- In two steps: whoever got content in the transaction that notes it could take the note back.

CREATE FUNCTION vault.ask(p_record uuid, p_reason text) RETURNS uuid
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
    SELECT v_access, c.record_id, c.entry_id, c.kind, p_reason, v_now FROM vault.content c WHERE c.record_id = p_record;
    RETURN CASE WHEN FOUND THEN v_access END;
END $$;
COMMENT ON FUNCTION vault.ask IS
    'Notes in the access log that this login reads all content of a record, and why. Returns what vault.hand_out takes once this has been committed, or null where there is no content.';

CREATE FUNCTION vault.hand_out(p_record uuid, p_access uuid) RETURNS SETOF vault.content
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.*
    FROM record.access_log l
    JOIN vault.content c ON c.record_id = l.record_id AND c.entry_id = l.entry_id AND c.kind = l.kind
    WHERE l.record_id = p_record AND l.access_id = p_access AND l.login = session_user
        AND l.asked_at > clock_timestamp() - interval '5 minutes'
        AND l.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()
$$;
COMMENT ON FUNCTION vault.hand_out IS
    'The ciphertexts that were asked for with vault.ask, to the login that asked, in a later transaction, within five minutes.';

GRANT USAGE ON SCHEMA vault TO waybill_oncall;
GRANT EXECUTE ON FUNCTION vault.ask, vault.hand_out TO waybill_oncall;
GRANT SELECT ON record.access_log TO waybill_oncall;
