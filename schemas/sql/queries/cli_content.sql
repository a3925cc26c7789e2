-- name: ask
-- Notes that somebody reads a record's content, of one kind or all, and why. It has to be committed before anything is
-- handed out.
SELECT vault.ask_for($1, $2, $3);

-- name: hand_out
-- What was asked for: ciphertexts.
SELECT c.record_id, c.entry_id, c.kind, c.ciphertext FROM vault.hand_out($1, $2) AS c;

-- name: access_log
-- Who read content of some records, oldest first.
SELECT l.record_id, l.login, l.asked_at, l.reason, l.entry_id, l.kind
FROM record.access_log l
WHERE l.record_id = ANY ($1::uuid[])
ORDER BY l.asked_at, l.access_id, l.kind, l.entry_id;
