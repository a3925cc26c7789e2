"""The `waybill` command: one file per command group, thin over the services it asks."""
