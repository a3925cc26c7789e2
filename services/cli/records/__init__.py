"""Looking at records and bringing them on: what on-call does. Every command takes ids, ``--key`` or a selection."""
