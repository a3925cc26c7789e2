"""The classifier: intake. It reads what backends publish, makes a record of it, and says what is in it.

    bytes ─▶ intake.read ─▶ a job, a cancel, a replay, a rejection ─▶ one transaction ─▶ `classified` or `outcomes`
                  └▶ no record can be made: dead letter

Owns identity (which record answers for a key), the vault's job content, features, findings, data class and risk tier.
The database decides who wins a key. How it fails: a batch that did not commit comes again and finds nothing or finds
itself; bad input ends as a sealed rejection or a dead letter, never as a stuck partition.
"""
