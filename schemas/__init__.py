"""The contracts: what clients, operators and the services' parts agree on.

Jobs are strict, unknown fields are refused by name. Internal messages and results ignore unknown fields, so that a
release reads what the release before it wrote. Changes within a ``schema_version`` are additive.
"""
