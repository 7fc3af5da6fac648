"""Voices at risk: found, reported in files, told to people."""
