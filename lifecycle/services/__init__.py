"""One module per thing that a user does."""
