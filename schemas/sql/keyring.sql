-- The keyring: may live in a database of its own, so it has a script of its own, safe to run again, and its own grants.
CREATE SCHEMA IF NOT EXISTS keyring;
COMMENT ON SCHEMA keyring IS 'The key of each record, wrapped by the master key. Deleting a row erases the record''s content.';
CREATE TABLE IF NOT EXISTS keyring.record_key (
    record_id  uuid  PRIMARY KEY,
    wrapped    bytea NOT NULL,
    master_key text  NOT NULL
);
COMMENT ON TABLE keyring.record_key IS 'Content key and digest salt of one record, AES-256-GCM under the master key named.';
COMMENT ON COLUMN keyring.record_key.record_id IS 'The record whose content the key opens.';
COMMENT ON COLUMN keyring.record_key.wrapped IS 'Nonce, then key and salt, encrypted and bound to the record.';
COMMENT ON COLUMN keyring.record_key.master_key IS 'Name of the master key: a part of a digest of it.';

GRANT USAGE ON SCHEMA keyring TO waybill_classifier, waybill_executor, waybill_recorder;
GRANT SELECT ON keyring.record_key TO waybill_classifier, waybill_executor, waybill_recorder;
GRANT INSERT ON keyring.record_key TO waybill_classifier;
GRANT DELETE ON keyring.record_key TO waybill_recorder;
