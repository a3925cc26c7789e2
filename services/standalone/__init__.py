"""A whole Waybill on one machine: real PostgreSQL and Apache Kafka, the provider simulator and the four services.

Nothing has to be installed for it: PostgreSQL comes in a wheel, Kafka's jars are fetched once (:mod:`.jars`) and run on
the Java runtime of a wheel. Services never import this package; the command line and the tests do.

States of a stack::

    down ──up──▶ starting ──all ready──▶ ready ◀──┐ restarted
     ▲              │ failed               │ a process ends
     │              ▼                      ▼      │
     └───────── (everything is ended) ◀─ stopping  degraded

Authority: one *supervisor* process (:mod:`.supervisor`) owns a state folder for as long as it holds the lock in it;
``state.json`` in that folder is what it last said about itself. Every other process is its child and dies with it, even
when the supervisor is killed (:mod:`.guard`). Who finds the lock free may take over the folder, whatever the file says.

How it fails: what cannot start is a :class:`~services.runtime.errors.WaybillError` that says what to do, and everything
already started is ended again. A child that dies later is restarted with growing pauses and the stack is ``degraded``.

Its third-party packages come with the extra ``waybill[standalone]``; this file needs none of them.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_STATE_DIR = Path(".waybill")
