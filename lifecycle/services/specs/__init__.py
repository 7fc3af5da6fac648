"""What goes into a voice and what comes out, and who says so."""
