-- name: memberships
-- Which groups this login is a member of.
SELECT m.roleid::regrole::text AS role FROM pg_auth_members m WHERE m.member = session_user::regrole;

-- name: change_password
ALTER ROLE postgres PASSWORD 'another';
