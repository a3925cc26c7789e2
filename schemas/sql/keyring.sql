-- The keyring: may live in a database of its own, so it has a script of its own, safe to run again, and its own grants.
CREATE SCHEMA IF NOT EXISTS keyring;
COMMENT ON SCHEMA keyring IS 'Keys of records and tenants, wrapped by a master key. Deleting a record''s erases its content.';
CREATE TABLE IF NOT EXISTS keyring.record_key (
    record_id  uuid  PRIMARY KEY,
    wrapped    bytea NOT NULL,
    master_key text  NOT NULL
);
COMMENT ON TABLE keyring.record_key IS 'Content key and digest salt of one record, AES-256-GCM under the master key named.';
COMMENT ON COLUMN keyring.record_key.record_id IS 'The record whose content the key opens.';
COMMENT ON COLUMN keyring.record_key.wrapped IS 'Nonce, then key and salt, encrypted and bound to the record.';
COMMENT ON COLUMN keyring.record_key.master_key IS 'Name of the master key: a part of a digest of it.';

CREATE TABLE IF NOT EXISTS keyring.tenant_key (
    tenant     text  PRIMARY KEY,
    wrapped    bytea NOT NULL,
    master_key text  NOT NULL
);
COMMENT ON TABLE keyring.tenant_key IS 'Key under which one tenant''s idempotency keys and payloads are hashed, AES-256-GCM under the master key named. Without it every job that comes again is new.';
COMMENT ON COLUMN keyring.tenant_key.tenant IS 'Whose key it is; empty for messages that make no job.';
COMMENT ON COLUMN keyring.tenant_key.wrapped IS 'Nonce, then the key, encrypted and bound to the tenant.';
COMMENT ON COLUMN keyring.tenant_key.master_key IS 'Name of the master key: a part of a digest of it.';

CREATE OR REPLACE FUNCTION keyring.tenant_key_of(wanted text) RETURNS SETOF keyring.tenant_key
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.* FROM keyring.tenant_key k WHERE k.tenant = wanted
$$;
COMMENT ON FUNCTION keyring.tenant_key_of IS
    'The wrapped key of one tenant, for people who look for the record of an idempotency key. It opens no content.';

CREATE OR REPLACE FUNCTION keyring.record_key_of(wanted uuid) RETURNS SETOF keyring.record_key
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.* FROM keyring.record_key k WHERE k.record_id = wanted
$$;
COMMENT ON FUNCTION keyring.record_key_of IS
    'The wrapped key of one record, for people. It opens nothing without what vault.hand_out gives, which is noted.';
REVOKE EXECUTE ON FUNCTION keyring.tenant_key_of, keyring.record_key_of FROM PUBLIC;

GRANT USAGE ON SCHEMA keyring TO waybill_classifier, waybill_executor, waybill_recorder, waybill_oncall;
GRANT SELECT ON keyring.record_key TO waybill_classifier, waybill_executor, waybill_recorder;
GRANT INSERT ON keyring.record_key TO waybill_classifier;
GRANT DELETE ON keyring.record_key TO waybill_recorder;
GRANT SELECT, INSERT ON keyring.tenant_key TO waybill_classifier;
GRANT SELECT ON keyring.tenant_key TO waybill_recorder;
GRANT EXECUTE ON FUNCTION keyring.tenant_key_of, keyring.record_key_of TO waybill_oncall;
