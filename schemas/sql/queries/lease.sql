-- name: renew
-- Take or renew a lease; the database's clock counts.
INSERT INTO record.lease (worker, host, expires_at) VALUES ($1, $2, clock_timestamp() + $3::interval)
ON CONFLICT (worker) DO UPDATE SET expires_at = excluded.expires_at;

-- name: release
-- A clean stop: nobody has to wait for the expiry.
DELETE FROM record.lease WHERE worker = $1;

-- name: alive
-- Which workers still hold their lease.
SELECT worker FROM record.lease WHERE worker = ANY ($1::uuid[]) AND expires_at > clock_timestamp();

-- name: sweep
-- Leases that expired long ago; their workers will not come back under this id.
DELETE FROM record.lease WHERE expires_at < clock_timestamp() - interval '1 day';
