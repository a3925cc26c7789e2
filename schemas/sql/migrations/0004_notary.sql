-- Positions: which entry stands at which leaf of the Merkle tree that the notary signs.

-- Finds the entries of some transactions in every partition. Its keys come in order, many entries to each: small, and
-- cheap to append to. BRIN has no operators for xid8, and would leave the newest pages, those wanted, unsummarised.
CREATE INDEX entry_xid ON record.entry (xid);

CREATE TABLE record.leaf_pack (
    first_leaf bigint NOT NULL PRIMARY KEY CHECK (first_leaf >= 0),
    xid_from   xid8   NOT NULL UNIQUE,
    xid_to     xid8   NOT NULL,
    record_ids bytea  STORAGE EXTERNAL NOT NULL,
    seqs       bytea  NOT NULL,
    xids       bytea  NOT NULL,
    hashes     bytea  STORAGE EXTERNAL NOT NULL,
    tree       bytea  STORAGE EXTERNAL NOT NULL,
    positions  bytea  NOT NULL CHECK (octet_length(positions) = 32),
    packed_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (xid_from < xid_to),
    CHECK (octet_length(seqs) > 0 AND octet_length(record_ids) = 4 * octet_length(seqs)
           AND octet_length(xids) = 2 * octet_length(seqs) AND octet_length(hashes) = 8 * octet_length(seqs))
);
COMMENT ON TABLE record.leaf_pack IS
    'Positions of entries in the tree that checkpoints sign: one row for the entries of some transactions. Append-only. The primary key fences notaries: of two that extend the same tree, one wins.';
COMMENT ON COLUMN record.leaf_pack.first_leaf IS 'Leaf of the first entry in it; the entries before it are in earlier rows.';
COMMENT ON COLUMN record.leaf_pack.xid_from IS 'It covers every entry whose xid is at least this …';
COMMENT ON COLUMN record.leaf_pack.xid_to IS '… and less than this, where the next row begins. All these transactions had ended.';
COMMENT ON COLUMN record.leaf_pack.record_ids IS 'Records of the entries, 16 bytes each, in the order of xid, record_id and seq.';
COMMENT ON COLUMN record.leaf_pack.seqs IS 'Their positions in their records, 4 bytes each, big-endian.';
COMMENT ON COLUMN record.leaf_pack.xids IS 'Their transactions, 8 bytes each, big-endian.';
COMMENT ON COLUMN record.leaf_pack.hashes IS 'Their hashes, 32 bytes each: the leaves.';
COMMENT ON COLUMN record.leaf_pack.tree IS 'The tree before this row: roots of its perfect subtrees, largest first.';
COMMENT ON COLUMN record.leaf_pack.positions IS 'Digest over all rows before this one.';
COMMENT ON COLUMN record.leaf_pack.packed_at IS 'When the notary gave these positions.';
SELECT record.protect('record.leaf_pack');

-- The notary is the recorder's; people on call verify.
GRANT SELECT, INSERT ON record.leaf_pack TO waybill_recorder;
GRANT SELECT ON record.leaf_pack TO waybill_oncall;
