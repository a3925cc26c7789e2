-- name: create
CREATE DATABASE "{name}";

-- name: copy
CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log;

-- name: drop
DROP DATABASE "{name}" WITH (FORCE);
