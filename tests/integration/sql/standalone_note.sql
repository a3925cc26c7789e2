-- A table whose rows have to survive what the tests do to the stack. Only the owner makes tables.
SET ROLE waybill_owner;
CREATE TABLE note (content text NOT NULL);
GRANT SELECT, INSERT ON note TO waybill_oncall;
