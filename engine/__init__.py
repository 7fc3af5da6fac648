"""The synthesis engine: text to speech in plain PyTorch."""
