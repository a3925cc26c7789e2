"""The router: policy decides which model handles a job, and releases what waits.

    `classified` ─▶ decide (pure) ─▶ append decided ─▶ `routed.background`, `routed.batch`, or `outcomes`
    held rows that are due ─▶ append released, decided ─▶ the same topics

Owns decisions and releases. The database decides, through the held row's lock, that one router releases a record. How
it fails: a batch that did not commit comes again; a release that committed but was not produced is swept.
"""
