"""Goldens, the comparison and its tolerances: pure over values handed in; numpy is allowed here."""
