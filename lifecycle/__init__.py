"""vlm: the life of a voice, kept, checked and ended with evidence."""
