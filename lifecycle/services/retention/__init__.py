"""Policies over a whole registry: read, explained, planned, applied."""
