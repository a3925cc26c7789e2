"""Proofs: a Merkle tree over entries, checkpoints that sign it, and files that prove a record to anybody.

    entries ─▶ packs (positions) ─▶ Merkle tree (RFC 6962) ─▶ checkpoint (C2SP signed note) ─▶ folder outside
    entry + audit path + checkpoint = proof file, checked with a public key and nothing else

Pure: no database and no service. The formats are described in ``docs/verification.md``, so that nobody has to trust
this code. How it fails: whatever does not check is a :class:`~services.proof.errors.ProofError` that names the step.
"""
