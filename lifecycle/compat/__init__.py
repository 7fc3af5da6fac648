"""What is known about torch releases without running them."""
