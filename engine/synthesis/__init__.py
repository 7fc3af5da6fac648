"""Synthesis: a voice's two files and a text become samples; needs torch and numpy only."""
