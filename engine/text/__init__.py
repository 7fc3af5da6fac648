"""Text front ends: one package per language, written text in, phones out; no torch."""
