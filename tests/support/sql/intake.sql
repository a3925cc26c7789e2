-- name: counts
SELECT (SELECT count(*) FROM record.entry WHERE seq = 0) AS records,
       (SELECT count(*) FROM record.entry) AS entries,
       (SELECT count(*) FROM record.idempotency) AS keys,
       (SELECT count(*) FROM record.open_record) AS open_records,
       (SELECT count(*) FROM vault.content) AS contents,
       (SELECT count(*) FROM keyring.record_key) AS record_keys;

-- name: key_owner
-- Which record answers for a key, and whether it was cancelled.
SELECT record_id, cancelled_at IS NOT NULL AS cancelled FROM record.idempotency WHERE tenant = $1 AND key_hmac = $2;

-- name: damage
-- As if a disk had flipped the last bit of this content.
UPDATE vault.content SET ciphertext = set_byte(ciphertext, octet_length(ciphertext) - 1,
    get_byte(ciphertext, octet_length(ciphertext) - 1) # 1) WHERE record_id = $1 AND kind = $2;

-- name: age_keys
-- As if idempotency keys had been seen so long ago.
UPDATE record.idempotency SET seen_at = seen_at - $1::interval;
