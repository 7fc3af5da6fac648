"""What must go when a person leaves, what stays and why, and the receipt that an outsider can check."""
