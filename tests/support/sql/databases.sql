-- name: create
CREATE DATABASE "{name}";

-- name: copy
CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy;

-- name: drop
DROP DATABASE "{name}" WITH (FORCE);
