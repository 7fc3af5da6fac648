"""What services ask the registry: one module per subject matter, plain values out."""
