"""The packages that a voice's own code needs, as they are really installed."""
