-- name: create_database
-- The one database of an embedded server; it cannot be made in a transaction.
CREATE DATABASE waybill;

-- name: has_login
-- Whether a login has been made.
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1);

-- name: create_login
-- The statement that makes a login: a password is no parameter of one.
SELECT format('CREATE ROLE %I LOGIN PASSWORD %L IN ROLE %s', $1::text, $2::text, string_agg(quote_ident(g), ', '))
FROM unnest($3::text[]) AS g;

-- name: let_people_in
-- Who runs a stack gives its rights to others by login, as CREATEROLE allows for groups that one may grant.
ALTER DATABASE waybill OWNER TO waybill_owner;
ALTER ROLE waybill CREATEROLE;
GRANT waybill_oncall, analyst TO waybill WITH ADMIN OPTION;
-- The owner's rights are taken on for the length of a migration: until then its login reads no content, and no keys.
GRANT waybill_owner TO waybill WITH INHERIT FALSE;
