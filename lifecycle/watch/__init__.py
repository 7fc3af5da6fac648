"""Which voices are at risk: rules over a snapshot, and how findings are grouped for people."""
