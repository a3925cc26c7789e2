-- A table whose rows have to survive what the tests do to the stack.
CREATE TABLE note (content text NOT NULL);
