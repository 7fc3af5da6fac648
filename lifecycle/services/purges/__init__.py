"""What is destroyed for good: planned, decided, done, looked at again, and told in a receipt."""
