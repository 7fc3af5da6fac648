"""Many voices at once: a folder becomes a table, the table becomes voices."""
