"""Verification: every entry, position and checkpoint read again and compared, by a process that trusts none of them.

    checkpoints (outside) ─▶ signatures, sizes, cluster
    packs ─▶ digest and roots at every checkpoint ─▶ entries of the same transactions: the same, no more, no fewer
    entries ─▶ hash of the body, columns against the body, link to the entry before

It only reads, and holds no transaction open: what is covered cannot change, and what changed is what it looks for. How
it fails: a fault is reported and the walk goes on, on its own reckoning; errors of the database end it, and it can be
taken up again from the state file.
"""
