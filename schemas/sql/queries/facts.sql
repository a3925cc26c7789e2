-- name: sealed_between
-- The next sealed records after one, and before another, in the order of their ids.
SELECT e.record_id FROM record.entry e
WHERE e.record_id > $1 AND e.record_id < $2 AND e.kind = 'sealed'
ORDER BY e.record_id
LIMIT $3;

-- name: request_between
-- The rows of the records after one, up to and including another.
SELECT * FROM facts.request WHERE record_id > $1 AND record_id <= $2;

-- name: attempt_between
-- The rows of the records after one, up to and including another.
SELECT * FROM facts.attempt WHERE record_id > $1 AND record_id <= $2;

-- name: source_between
-- The rows of the records after one, up to and including another.
SELECT * FROM facts.source WHERE record_id > $1 AND record_id <= $2;

-- name: feedback_between
-- The rows of the records after one, up to and including another.
SELECT * FROM facts.feedback WHERE record_id > $1 AND record_id <= $2;

-- name: first_record
-- The oldest record at or after an id.
SELECT record_id FROM record.entry WHERE record_id >= $1 ORDER BY record_id LIMIT 1;

-- name: last_record
-- The newest record.
SELECT record_id FROM record.entry ORDER BY record_id DESC LIMIT 1;

-- name: begin_rebuild
-- Makes the fresh tables of a month.
SELECT facts.begin_rebuild($1::date);

-- name: missed_by_rebuild
-- Keeps recorders waiting, and finds what they wrote meanwhile.
SELECT record_id FROM facts.missed_by_rebuild($1::date);

-- name: forget_rebuilt
-- Empties the fresh tables of what is made again.
SELECT facts.forget_rebuilt($1::date, $2::uuid[]);

-- name: finish_rebuild
-- Puts the fresh tables in their place.
SELECT name, rows FROM facts.finish_rebuild($1::date);
