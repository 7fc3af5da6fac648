"""Measures of a voice: resemblance, speed."""
