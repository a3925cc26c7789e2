-- The record: entries, the append function that fences them, and the operational state around them.
-- Functions that run with the owner's rights name pg_temp last: left out, a caller's temporary objects would come first.

CREATE SCHEMA record;
COMMENT ON SCHEMA record IS 'The AI request record: immutable entries, and the operational state that can be rebuilt from them.';

CREATE TABLE record.transition (
    after text NOT NULL,
    kind  text NOT NULL,
    PRIMARY KEY (after, kind)
);
COMMENT ON TABLE record.transition IS 'Which kind of entry may follow which; the empty string stands before the first.';

INSERT INTO record.transition (after, kind)
SELECT after, unnest(string_to_array(kinds, ' '))
FROM (VALUES
    ('', 'received'),
    ('received', 'classified sealed'),
    ('classified', 'decided held sealed'),
    ('decided', 'attempt_started held sealed'),
    ('attempt_started', 'attempt_finished attempt_started held sealed'),
    ('attempt_finished', 'validated attempt_started held sealed'),
    ('validated', 'sealed'),
    ('held', 'released'),
    ('released', 'decided attempt_started held sealed'),
    ('sealed', 'late_result'),
    ('late_result', 'late_result')
) AS rule (after, kinds);

CREATE TABLE record.may_write (
    role name NOT NULL,
    kind text NOT NULL,
    PRIMARY KEY (kind, role)
);
COMMENT ON TABLE record.may_write IS 'Which group of logins may append which kind of entry.';

INSERT INTO record.may_write (role, kind)
SELECT role, unnest(string_to_array(kinds, ' '))
FROM (VALUES
    ('waybill_classifier', 'received classified'),
    ('waybill_router', 'decided released'),
    ('waybill_executor', 'attempt_started attempt_finished validated held'),
    ('waybill_recorder', 'sealed late_result cost_corrected feedback erased')
) AS rule (role, kinds);

CREATE TABLE record.entry (
    record_id      uuid        NOT NULL,
    seq            integer     NOT NULL CHECK (seq >= 0),
    entry_id       uuid        NOT NULL,
    kind           text        NOT NULL,
    schema_version smallint    NOT NULL,
    body           json        NOT NULL,
    entry_hash     bytea       NOT NULL CHECK (octet_length(entry_hash) = 32),
    recorded_at    timestamptz NOT NULL,
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (record_id, seq)
) PARTITION BY RANGE (record_id);
COMMENT ON TABLE record.entry IS 'One step of one record. Append-only: update, delete and truncate are refused.';
COMMENT ON COLUMN record.entry.record_id IS 'The record, a UUIDv7: its first 48 bits are the time it was received.';
COMMENT ON COLUMN record.entry.seq IS 'Position in the record''s chain, from 0.';
COMMENT ON COLUMN record.entry.entry_id IS 'Deterministic from record, kind and cause, so that a redelivery is recognised; random for claims of paid calls.';
COMMENT ON COLUMN record.entry.kind IS 'What the entry says: received, classified, decided, …';
COMMENT ON COLUMN record.entry.schema_version IS 'Version of the shape of body.data.';
COMMENT ON COLUMN record.entry.body IS 'The exact text that is hashed; the other columns are copies of its fields.';
COMMENT ON COLUMN record.entry.entry_hash IS 'SHA-256 over a zero byte and the body.';
COMMENT ON COLUMN record.entry.recorded_at IS 'When the writer made the entry, by its clock.';
COMMENT ON COLUMN record.entry.xid IS 'The transaction that stored the entry.';

CREATE TABLE record.entry_default PARTITION OF record.entry DEFAULT WITH (toast_tuple_target = 4096);
COMMENT ON TABLE record.entry_default IS 'Must stay empty: a row here means that no partition was made ahead of time.';

CREATE UNIQUE INDEX entry_late_once ON record.entry (record_id, entry_id)
    WHERE kind IN ('late_result', 'cost_corrected', 'feedback', 'erased');

CREATE FUNCTION record.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: the record is append-only', tg_op, tg_table_schema, tg_table_name
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION record.protect(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Row triggers of a partitioned table are cloned into its partitions, truncate triggers are not.
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'refuse_change') THEN
        EXECUTE format('CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION record.refuse_change()', target);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = target AND tgname = 'refuse_truncate') THEN
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION record.refuse_change()', target);
    END IF;
    -- ALWAYS: a session in replication role fires them too.
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_change', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_truncate', target);
END $$;

SELECT record.protect('record.entry'), record.protect('record.entry_default');

CREATE FUNCTION record.uuid7_from(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
COMMENT ON FUNCTION record.uuid7_from IS 'The smallest UUIDv7 of a moment: a bound for ranges of record_id by time.';

CREATE FUNCTION record.uuid7_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
$$;
COMMENT ON FUNCTION record.uuid7_time IS 'The moment in a UUIDv7: when the record was received.';

CREATE FUNCTION record.append(
    p_record uuid[], p_seq integer[], p_entry uuid[], p_kind text[], p_version smallint[],
    p_body text[], p_hash bytea[], p_prev bytea[], p_at timestamptz[]
) RETURNS TABLE (record_id uuid, seq integer, entry_id uuid, kind text, body json, entry_hash bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- The arrays' lengths are unknown to the planner, and a scan of all entries is never right here.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_inserted uuid[];
    v_broken   uuid;
    v_refused  text;
BEGIN
    -- The login counts, for this runs as the owner. Once for each kind, however many entries there are.
    SELECT given.kind INTO v_refused
    FROM (SELECT DISTINCT k.kind FROM unnest(p_kind) AS k (kind)) AS given
    WHERE NOT EXISTS (
        SELECT FROM record.may_write m WHERE m.kind = given.kind AND pg_has_role(session_user, m.role, 'MEMBER')
    )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'login % may not append entries of kind %', session_user, v_refused
            USING ERRCODE = 'insufficient_privilege';
    END IF;

    SELECT x.rec INTO v_broken
    FROM (
        SELECT i.*, lag(i.seq) OVER w AS before_seq, lag(i.hash) OVER w AS before_hash, lag(i.kind) OVER w AS before_kind
        FROM unnest(p_record, p_seq, p_kind, p_hash, p_prev) AS i (rec, seq, kind, hash, prev)
        WINDOW w AS (PARTITION BY i.rec ORDER BY i.seq)
    ) AS x
    WHERE x.before_seq IS NOT NULL
      AND (x.seq <> x.before_seq + 1 OR x.prev IS DISTINCT FROM x.before_hash
           OR NOT EXISTS (SELECT FROM record.transition t WHERE t.after = x.before_kind AND t.kind = x.kind))
    LIMIT 1;
    IF v_broken IS NOT NULL THEN
        RAISE EXCEPTION 'the entries given for record % do not form a chain', v_broken USING ERRCODE = 'check_violation';
    END IF;

    WITH input AS MATERIALIZED (
        SELECT i.*, row_number() OVER (PARTITION BY i.rec ORDER BY i.seq) AS place
        FROM unnest(p_record, p_seq, p_entry, p_kind, p_version, p_body, p_hash, p_prev, p_at)
             AS i (rec, seq, entry, kind, version, body, hash, prev, at)
    ), first AS (
        INSERT INTO record.entry AS e (record_id, seq, entry_id, kind, schema_version, body, entry_hash, recorded_at)
        SELECT i.rec, i.seq, i.entry, i.kind, i.version, i.body::json, i.hash, i.at
        FROM input i
        LEFT JOIN record.entry p ON p.record_id = i.rec AND p.seq = i.seq - 1
        JOIN record.transition t ON t.after = coalesce(p.kind, '') AND t.kind = i.kind
        WHERE i.place = 1 AND (i.seq = 0 OR p.seq IS NOT NULL) AND p.entry_hash IS NOT DISTINCT FROM i.prev
        ORDER BY i.rec, i.seq
        ON CONFLICT DO NOTHING
        RETURNING e.record_id
    ), further AS (
        INSERT INTO record.entry (record_id, seq, entry_id, kind, schema_version, body, entry_hash, recorded_at)
        SELECT i.rec, i.seq, i.entry, i.kind, i.version, i.body::json, i.hash, i.at
        FROM input i
        -- A hashed subplan: as a join it would be a nested loop here, and cost the square of the batch.
        WHERE i.place > 1 AND (i.rec IN (SELECT f.record_id FROM first f)) IS TRUE
        ORDER BY i.rec, i.seq
    )
    SELECT array_agg(f.record_id) INTO v_inserted FROM first f;

    IF coalesce(cardinality(v_inserted), 0) = (SELECT count(DISTINCT r) FROM unnest(p_record) AS r) THEN
        RETURN;
    END IF;

    -- A statement of its own: in the one above a concurrent winner's rows are invisible.
    RETURN QUERY
    SELECT i.rec, e.seq, e.entry_id, e.kind, e.body, e.entry_hash
    FROM (SELECT g.rec, min(g.seq) AS from_seq FROM unnest(p_record, p_seq) AS g (rec, seq) GROUP BY g.rec) AS i
    LEFT JOIN record.entry e ON e.record_id = i.rec AND e.seq >= i.from_seq
    WHERE i.rec <> ALL (coalesce(v_inserted, '{}'))
    ORDER BY i.rec, e.seq;
END $$;
COMMENT ON FUNCTION record.append IS
    'Appends chains of entries, each only directly after the predecessor it names. Returns nothing for what was inserted; for every other record the stored rows from that position on, or one row of nulls where there are none.';

CREATE TABLE record.idempotency (
    tenant       text        NOT NULL,
    key_hmac     bytea       NOT NULL,
    payload_hmac bytea,
    record_id    uuid,
    cancelled_at timestamptz,
    seen_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, key_hmac)
);
COMMENT ON TABLE record.idempotency IS
    'Which record answers for a tenant''s key. A cancel that comes before its job stands here without a record.';
CREATE INDEX idempotency_cancelled ON record.idempotency (record_id) WHERE cancelled_at IS NOT NULL;

CREATE TABLE record.open_record (
    record_id     uuid        PRIMARY KEY,
    tenant        text        NOT NULL,
    sweeps        smallint    NOT NULL DEFAULT 0,
    next_sweep_at timestamptz NOT NULL
);
COMMENT ON TABLE record.open_record IS
    'Records whose result has not been acknowledged yet. Inserted at intake, deleted when the result''s acks are in.';

CREATE TABLE record.held (
    record_id uuid        PRIMARY KEY,
    seq       integer     NOT NULL,
    tenant    text        NOT NULL,
    reason    text        NOT NULL,
    due       timestamptz,
    deadline  timestamptz NOT NULL,
    held_at   timestamptz NOT NULL DEFAULT now(),
    verdict   text        CHECK (verdict IN ('retry', 'charged', 'not_charged')),
    actor     text
);
COMMENT ON TABLE record.held IS
    'Records that wait. While a row is here it owns the record: people set its verdict, the router alone releases.';

CREATE FUNCTION record.set_verdict(record_id uuid, seq integer, verdict text) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE record.held h SET verdict = set_verdict.verdict, actor = session_user
    WHERE h.record_id = set_verdict.record_id AND h.seq = set_verdict.seq AND h.verdict IS NULL
    RETURNING h.record_id
$$;
COMMENT ON FUNCTION record.set_verdict IS
    'Decides what a record waits for, by the position of the hold that was looked at; the actor is the login. Returns the record, or nothing where it does not wait there without a verdict.';

CREATE TABLE record.lease (
    worker     uuid        PRIMARY KEY,
    host       text        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE record.lease IS 'One row per running executor process; a claim whose worker has none is in doubt.';

CREATE TABLE record.aside (
    record_id uuid        NOT NULL,
    entry_id  uuid        NOT NULL,
    kind      text        NOT NULL,
    data      text        NOT NULL,
    put_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (record_id, entry_id)
);
COMMENT ON TABLE record.aside IS
    'What somebody who does not own the record has to add to it; the recorder appends it after the seal.';

CREATE SCHEMA vault;
COMMENT ON SCHEMA vault IS 'Content, encrypted with a key per record: the one erasable place.';
CREATE TABLE vault.content (
    record_id  uuid  NOT NULL,
    entry_id   uuid  NOT NULL,
    kind       text  NOT NULL,
    ciphertext bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (record_id, entry_id, kind)
);
COMMENT ON TABLE vault.content IS 'Compressed, then AES-256-GCM under the record''s key; bound to record, entry and kind.';

COMMENT ON COLUMN record.transition.after IS 'The kind of the entry before; empty before the first.';
COMMENT ON COLUMN record.transition.kind IS 'A kind that may follow it.';
COMMENT ON COLUMN record.may_write.role IS 'The group; every member of it may.';
COMMENT ON COLUMN record.may_write.kind IS 'A kind that it may append.';
COMMENT ON COLUMN record.idempotency.tenant IS 'Whose key it is.';
COMMENT ON COLUMN record.idempotency.key_hmac IS 'HMAC of what names the job, under the tenant''s key.';
COMMENT ON COLUMN record.idempotency.payload_hmac IS 'HMAC of the payload: another one under the same key is a conflict.';
COMMENT ON COLUMN record.idempotency.record_id IS 'The record that answers; null while only a cancel has come.';
COMMENT ON COLUMN record.idempotency.cancelled_at IS 'When the job was cancelled; null if it was not.';
COMMENT ON COLUMN record.idempotency.seen_at IS 'When the key was first seen; keys live 30 days.';
COMMENT ON COLUMN record.open_record.record_id IS 'The record.';
COMMENT ON COLUMN record.open_record.tenant IS 'Whose job it is.';
COMMENT ON COLUMN record.open_record.sweeps IS 'How often the sweeper woke a stage for it.';
COMMENT ON COLUMN record.open_record.next_sweep_at IS 'When the sweeper looks at it again.';
COMMENT ON COLUMN record.held.record_id IS 'The record that waits.';
COMMENT ON COLUMN record.held.seq IS 'Position of its `held` entry: a verdict names it.';
COMMENT ON COLUMN record.held.tenant IS 'Whose job it is.';
COMMENT ON COLUMN record.held.reason IS 'Why it waits.';
COMMENT ON COLUMN record.held.due IS 'When it goes on by itself; null where a person decides.';
COMMENT ON COLUMN record.held.deadline IS 'When it is sealed as expired.';
COMMENT ON COLUMN record.held.held_at IS 'Since when it waits.';
COMMENT ON COLUMN record.held.verdict IS 'What a person decided: retry, charged or not_charged.';
COMMENT ON COLUMN record.held.actor IS 'The database login that decided.';
COMMENT ON COLUMN record.lease.worker IS 'One executor process; a new id at each start.';
COMMENT ON COLUMN record.lease.host IS 'Where it runs.';
COMMENT ON COLUMN record.lease.started_at IS 'Since when.';
COMMENT ON COLUMN record.lease.expires_at IS 'Until when its open claims are its own.';
COMMENT ON COLUMN record.aside.record_id IS 'The record that it belongs to.';
COMMENT ON COLUMN record.aside.entry_id IS 'The id of the late entry, which keeps it single.';
COMMENT ON COLUMN record.aside.kind IS 'The kind of the late entry.';
COMMENT ON COLUMN record.aside.data IS 'The data of the late entry, as JSON text.';
COMMENT ON COLUMN record.aside.put_at IS 'When it was put aside.';
COMMENT ON COLUMN vault.content.record_id IS 'The record.';
COMMENT ON COLUMN vault.content.entry_id IS 'The entry whose digest covers the content.';
COMMENT ON COLUMN vault.content.kind IS 'job or output.';
COMMENT ON COLUMN vault.content.ciphertext IS 'Nonce, then AES-256-GCM of the compressed content.';
