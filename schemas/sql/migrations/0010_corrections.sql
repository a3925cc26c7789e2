-- Costs corrected by people: an invoice that says otherwise becomes an entry after the seal, and a row of facts.attempt;
-- and room for the sums of what providers say that they counted.

INSERT INTO record.transition (after, kind)
SELECT after, unnest(string_to_array(kinds, ' '))
FROM (VALUES
    ('sealed', 'cost_corrected'),
    ('late_result', 'cost_corrected'),
    ('feedback', 'cost_corrected'),
    ('erased', 'cost_corrected'),
    ('cost_corrected', 'cost_corrected late_result feedback erased')
) AS rule (after, kinds);

CREATE FUNCTION record.derived_id(record_id uuid, kind text, cause text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    -- Version 8 and the variant of RFC 9562, in the seventh and the ninth byte.
    SELECT encode(set_byte(set_byte(d.digest, 6, get_byte(d.digest, 6) & 15 | 128), 8, get_byte(d.digest, 8) & 63 | 128), 'hex')::uuid
    FROM (SELECT substr(sha256(uuid_send(record_id) || convert_to(kind || ':' || cause, 'UTF8')), 1, 16) AS digest) AS d
$$;
COMMENT ON FUNCTION record.derived_id IS 'The id of the entry that follows from record, kind and cause; services derive the same.';

CREATE FUNCTION record.correct_cost(record_id uuid, attempt integer, by_usd numeric, reference text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_claim uuid;
    v_entry uuid;
BEGIN
    IF by_usd IN (0, 'NaN', 'Infinity', '-Infinity') OR reference !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$' THEN
        RAISE EXCEPTION 'a correction is an amount of money and a reference' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT e.entry_id INTO v_claim FROM record.entry e
    WHERE e.record_id = correct_cost.record_id AND e.kind = 'attempt_started'
      AND (e.body -> 'data' ->> 'attempt')::integer = correct_cost.attempt;
    IF NOT FOUND THEN
        RETURN 'unknown';
    END IF;
    v_entry := record.derived_id(record_id, 'cost_corrected', v_claim || ':' || reference);
    IF EXISTS (SELECT FROM record.entry e WHERE e.record_id = correct_cost.record_id AND e.entry_id = v_entry) THEN
        RETURN 'corrected_before';
    END IF;
    INSERT INTO record.aside (record_id, entry_id, kind, data)
    VALUES (record_id, v_entry, 'cost_corrected', json_build_object(
        'claim', v_claim, 'attempt', attempt, 'cost_usd', by_usd::text, 'reference', reference, 'actor', session_user
    )::text)
    ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN 'corrected' ELSE 'corrected_before' END;
END $$;
COMMENT ON FUNCTION record.correct_cost IS
    'Adds an amount, which may be negative, to the known cost of a call; once for each reference, such as an invoice. The actor is the login. Returns corrected, corrected_before, or unknown where the record has no such attempt.';

GRANT EXECUTE ON FUNCTION record.correct_cost TO waybill_oncall;

COMMENT ON COLUMN facts.attempt.outcome IS
    'ok, failed, lost, or unknown where the chain has no answer; corrected in rows of corrections.';
COMMENT ON COLUMN facts.attempt.finished_at IS 'When its answer, or the correction, was recorded.';
COMMENT ON COLUMN facts.attempt.cost_usd IS 'US dollars; 0 where no charge is known; what to add, or to take off, in rows of corrections.';
COMMENT ON COLUMN facts.cost_by_model_daily.cost_usd IS 'US dollars, late answers and corrections included, each on its own day.';

-- A sum of counts, each as large as a provider cares to say, may be larger than any of them.
ALTER TABLE facts.request
    ALTER COLUMN input_tokens TYPE bigint,
    ALTER COLUMN cached_input_tokens TYPE bigint,
    ALTER COLUMN output_tokens TYPE bigint,
    ALTER COLUMN reasoning_tokens TYPE bigint;
