-- name: create
CREATE DATABASE "{name}";

-- name: copy
CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY wal_log;

-- name: drop
DROP DATABASE "{name}" WITH (FORCE);

-- name: create_login
CREATE ROLE "{name}" LOGIN PASSWORD '{password}';

-- name: alter_login
ALTER ROLE "{name}" {option};

-- name: grant
GRANT {role} TO "{name}";

-- name: grant_to_grant
-- As whoever made a role has it: to grant, to oneself too, and nothing else.
GRANT {role} TO "{name}" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;

-- name: revoke
REVOKE {role} FROM "{name}";

-- name: give_database
ALTER DATABASE "{database}" OWNER TO "{name}";

-- name: drop_owned
-- A database of the login's is given back, everything else goes, its grants of roles too.
REASSIGN OWNED BY "{name}" TO CURRENT_USER;
DROP OWNED BY "{name}";

-- name: drop_login
DROP ROLE "{name}";
