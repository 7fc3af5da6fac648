"""Sound as numpy arrays: reading, writing, resampling, mel, pitch, loudness, segments.

Everywhere: mono, float32, shape (N,) with N samples in [-1, 1]; rates in Hz; F frames, one per hop.
"""
