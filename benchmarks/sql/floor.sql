-- name: create
-- One table for all hops of the floor: a row for each message that passed a hop.
CREATE SCHEMA floor;
CREATE TABLE floor.passed (id uuid PRIMARY KEY, message_id uuid NOT NULL, hop smallint NOT NULL, body bytea NOT NULL);
GRANT USAGE ON SCHEMA floor TO PUBLIC;
GRANT INSERT ON floor.passed TO PUBLIC;

-- name: insert
-- Store one batch of a hop.
INSERT INTO floor.passed (id, message_id, hop, body)
SELECT id, message_id, $3, body FROM unnest($1::uuid[], $2::uuid[], $4::bytea[]) AS b (id, message_id, body);

-- name: database_bytes
-- How large the database is, indexes included, the write-ahead log not.
SELECT pg_database_size(current_database());
