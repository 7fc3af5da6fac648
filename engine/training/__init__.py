"""Training: judging recordings, fitting a voice, and the recipe of the base."""
