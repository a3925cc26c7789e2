-- What each group may do: exactly what its statements in schemas/sql/queries need. Everything else stays the owner's.
-- Nobody has a right on a partition: whoever may write a table goes through the parent, or through append.

-- Functions are everybody's unless that is taken away, now and for those that come.
ALTER DEFAULT PRIVILEGES FOR ROLE waybill_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA record FROM PUBLIC;

GRANT USAGE ON SCHEMA migration, record, vault TO waybill_classifier, waybill_router, waybill_executor, waybill_recorder;
GRANT SELECT ON migration.applied, record.entry TO waybill_classifier, waybill_router, waybill_executor, waybill_recorder;
GRANT EXECUTE ON FUNCTION record.append TO waybill_classifier, waybill_router, waybill_executor, waybill_recorder;

-- The classifier takes in: keys, cancels, content; and reads what it is to replay.
GRANT SELECT, INSERT, UPDATE (payload_hmac, record_id, cancelled_at) ON record.idempotency TO waybill_classifier;
GRANT INSERT ON record.open_record TO waybill_classifier;
GRANT SELECT, INSERT ON vault.content TO waybill_classifier;

-- The router releases. Locking a row takes the right to update a column of it: one that decides nothing.
GRANT SELECT (record_id, cancelled_at) ON record.idempotency TO waybill_router;
GRANT SELECT, UPDATE (held_at), DELETE ON record.held TO waybill_router;

-- The executor reads jobs, keeps answers, holds records, and says that it lives.
GRANT SELECT (record_id, cancelled_at) ON record.idempotency TO waybill_executor;
GRANT SELECT, INSERT ON vault.content TO waybill_executor;
GRANT INSERT ON record.held, record.aside TO waybill_executor;
GRANT SELECT, INSERT, UPDATE (expires_at), DELETE ON record.lease TO waybill_executor;

-- The recorder seals, publishes, wakes what is silent, and keeps house; it locks what lies aside as the router locks.
GRANT SELECT ON vault.content TO waybill_recorder;
GRANT SELECT, UPDATE (put_at), DELETE ON record.aside TO waybill_recorder;
GRANT SELECT, UPDATE (sweeps, next_sweep_at), DELETE ON record.open_record TO waybill_recorder;
GRANT SELECT, DELETE ON record.lease TO waybill_recorder;
GRANT SELECT (seen_at), DELETE ON record.idempotency TO waybill_recorder;
GRANT USAGE ON SCHEMA facts TO waybill_recorder;
GRANT INSERT ON facts.request, facts.attempt TO waybill_recorder;
GRANT EXECUTE ON FUNCTION record.ensure_partitions, record.default_partition_used TO waybill_recorder;

-- People on call read all but content, cancel, and decide what waits.
GRANT USAGE ON SCHEMA record, facts TO waybill_oncall;
GRANT SELECT ON record.entry, record.transition, record.may_write, record.idempotency, record.open_record, record.held,
    record.lease, record.aside, facts.request, facts.attempt, facts.in_flight, facts.cost_by_model_daily,
    facts.latency_by_route, facts.fallback_rate TO waybill_oncall;
GRANT UPDATE (cancelled_at) ON record.idempotency TO waybill_oncall;
GRANT EXECUTE ON FUNCTION record.set_verdict, record.uuid7_from, record.uuid7_time TO waybill_oncall;

-- Analysts read the facts, also those of months to come, and nothing else; a view calls functions as whoever asks it.
GRANT USAGE ON SCHEMA facts TO analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA facts TO analyst;
ALTER DEFAULT PRIVILEGES FOR ROLE waybill_owner IN SCHEMA facts GRANT SELECT ON TABLES TO analyst;
GRANT EXECUTE ON FUNCTION record.uuid7_time TO analyst;
