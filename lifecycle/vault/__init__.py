"""Content-addressed blobs, sealing, the keys, and what lies with the keys: anchor, ledger, signatures."""
