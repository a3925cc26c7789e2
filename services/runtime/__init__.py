"""What every stage stands on: settings, Kafka, Postgres, the ledger, the vault, consumers, telemetry.

It knows no stage. Authority lies with the database (one chain per record, fenced by its primary key) and with Kafka
(who consumes which partition); each stateful module says in its own docstring what it decides and how it fails.
"""
