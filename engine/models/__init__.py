"""Models: tensors in, tensors out; one file each."""
