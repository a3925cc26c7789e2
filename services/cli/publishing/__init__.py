"""Publishing a file of jobs and waiting for their results.

::

    bytes ─▶ lines ─▶ native | openai_batch ─▶ Item ─▶ client ─▶ requests topic
                              │ cannot be asked for             │ acknowledged: position
                              ▼                                 ▼
                           Refusal ─▶ sinks ◀── expected ◀── watch ◀─ results and dead-letter topics

Nothing is kept between runs: what was published is known to Waybill by its idempotency key, so publishing the same file
again adds nothing and brings the results again. Of each line there is in memory only what its result is matched by.

How it fails: a line that cannot be asked for is refused by number and name, the rest is published. A broker that does
not acknowledge ends the run with the first line in question. Lines without a key that are published twice run twice.
"""
