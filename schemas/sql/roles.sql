-- The roles of a deployment, for an administrator: anybody with CREATEROLE who also owns the database. Safe to run again.
-- One owner of every object, one group for each service, two for people; none of them logs in. Grant logins to them:
--     CREATE ROLE classifier LOGIN PASSWORD '…' IN ROLE waybill_classifier;
-- Run it in each database: roles are the cluster's, but what the owner may do in a database is that database's.
DO $$
DECLARE
    v_role text;
BEGIN
    PERFORM pg_advisory_xact_lock(727001);
    FOREACH v_role IN ARRAY '{waybill_owner,waybill_classifier,waybill_router,waybill_executor,waybill_recorder,waybill_oncall,analyst}'::text[] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = v_role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- The lock is this database's, the roles are the cluster's: another database has just made it.
            RAISE NOTICE 'role % exists already', v_role;
        END;
    END LOOP;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO waybill_owner', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO waybill_owner, waybill_classifier, waybill_router, waybill_executor, waybill_recorder, waybill_oncall, analyst', current_database());
END $$;
