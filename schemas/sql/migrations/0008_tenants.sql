-- Tenants: each version of config/tenants.yaml that was ever in force, by the digest of what it says, and when, by whom
-- and why it came into force. Both tables are append-only; the newest row of the history is what counts.

CREATE TABLE record.tenants_version (
    version bytea NOT NULL PRIMARY KEY,
    content text  NOT NULL CHECK (content IS JSON OBJECT),
    CHECK (version = sha256(convert_to(content, 'UTF8')))
);
COMMENT ON TABLE record.tenants_version IS
    'What config/tenants.yaml said, once for each content; secrets are named in it, never written. Append-only.';
COMMENT ON COLUMN record.tenants_version.version IS 'SHA-256 of the content: its name.';
COMMENT ON COLUMN record.tenants_version.content IS 'The file as canonical JSON.';

CREATE TABLE record.tenants_applied (
    seq        bigint      NOT NULL PRIMARY KEY CHECK (seq >= 1),
    version    bytea       NOT NULL REFERENCES record.tenants_version,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by text        NOT NULL,
    reason     text        NOT NULL CHECK (length(btrim(reason)) BETWEEN 1 AND 500)
);
COMMENT ON TABLE record.tenants_applied IS
    'Which version of the tenants came into force, when, by whom and why: the newest row is in force. Append-only.';
COMMENT ON COLUMN record.tenants_applied.seq IS 'From 1, without gaps, in the order in which they came into force.';
COMMENT ON COLUMN record.tenants_applied.version IS 'The version that came into force.';
COMMENT ON COLUMN record.tenants_applied.applied_at IS 'When.';
COMMENT ON COLUMN record.tenants_applied.applied_by IS 'The login that applied it.';
COMMENT ON COLUMN record.tenants_applied.reason IS 'Why, in the words of who applied it.';

SELECT record.protect('record.tenants_version'), record.protect('record.tenants_applied');

-- Names of columns are written out with their tables: the parameters have the same names.
CREATE FUNCTION record.apply_tenants(content text, reason text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_version bytea := sha256(convert_to(content, 'UTF8'));
    v_newest  record.tenants_applied%ROWTYPE;
BEGIN
    -- One after the other: what is in force is what came last, in everybody's eyes.
    PERFORM pg_advisory_xact_lock(727003);
    SELECT a.* INTO v_newest FROM record.tenants_applied a ORDER BY a.seq DESC LIMIT 1;
    IF v_newest.version = v_version THEN
        RETURN NULL;
    END IF;
    INSERT INTO record.tenants_version (version, content) VALUES (v_version, apply_tenants.content)
    ON CONFLICT DO NOTHING;
    INSERT INTO record.tenants_applied (seq, version, applied_by, reason)
    VALUES (coalesce(v_newest.seq, 0) + 1, v_version, session_user, apply_tenants.reason);
    PERFORM pg_notify('waybill_tenants', (coalesce(v_newest.seq, 0) + 1)::text);
    RETURN coalesce(v_newest.seq, 0) + 1;
END $$;
COMMENT ON FUNCTION record.apply_tenants IS
    'Brings a version of the tenants into force and tells the running services; who did it is the login. Returns its place in the history, null where it is in force already.';

GRANT SELECT ON record.tenants_version, record.tenants_applied
    TO waybill_classifier, waybill_router, waybill_executor, waybill_recorder, waybill_oncall;
GRANT EXECUTE ON FUNCTION record.apply_tenants TO waybill_oncall;
