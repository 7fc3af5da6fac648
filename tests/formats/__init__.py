"""Files for tests, built by code: hostile ones, and small ones of every kind."""
