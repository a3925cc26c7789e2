"""The recorder: seals records, writes facts, publishes results, and looks after what fell asleep.

    `outcomes` ─▶ read chain ─▶ append sealed, insert facts ─▶ publish result ─▶ acks ─▶ delete open_record
    aside ─▶ late entries and facts of sealed records
    sweeper ─▶ wakes the stage that an open record's last entry calls for
    notary ─▶ signs all entries, and publishes the checkpoint outside the database

Owns the end of every record and everything after it. The database decides who seals. How it fails: a result is
published only after its seal has committed, and again until its acks are in; results of one record are always equal,
because they are made from what is stored.
"""
