-- name: latest_look
-- When the open record that was looked at last is looked at again.
SELECT max(o.next_sweep_at) AS next FROM record.open_record o;

-- name: earliest_look
-- When the first open record is looked at again.
SELECT min(o.next_sweep_at) AS next FROM record.open_record o;
