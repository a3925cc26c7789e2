-- The keyring: may live in a database of its own, so it has a script of its own, safe to run again.
-- IF NOT EXISTS does not help two that run at the same time; this is the lock of migrations.
SELECT pg_advisory_xact_lock(727001);
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
