-- Logins of a small deployment, for psql after roles.sql: one for people and for `waybill migrate`, one for each service.
-- Passwords come from the environment of psql. A larger deployment makes its own, by the same grants.
\getenv people WAYBILL_DB_PASSWORD
\getenv classifier CLASSIFIER_DB_PASSWORD
\getenv router ROUTER_DB_PASSWORD
\getenv executor EXECUTOR_DB_PASSWORD
\getenv recorder RECORDER_DB_PASSWORD
CREATE ROLE waybill LOGIN PASSWORD :'people' IN ROLE waybill_oncall, analyst;
-- Its rights are taken on for the length of a migration: until then the login reads no content, and no keys.
GRANT waybill_owner TO waybill WITH INHERIT FALSE;
CREATE ROLE classifier LOGIN PASSWORD :'classifier' IN ROLE waybill_classifier;
CREATE ROLE router LOGIN PASSWORD :'router' IN ROLE waybill_router;
CREATE ROLE executor LOGIN PASSWORD :'executor' IN ROLE waybill_executor;
CREATE ROLE recorder LOGIN PASSWORD :'recorder' IN ROLE waybill_recorder;
