-- name: bound_transactions
-- For the life of the session; PostgreSQL before 17 does not know it, and would refuse a connection that names it.
SELECT set_config('transaction_timeout', $1, false);
