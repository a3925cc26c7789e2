"""A deterministic simulation of the stages: real code, with the database, the broker and time made of memory."""
