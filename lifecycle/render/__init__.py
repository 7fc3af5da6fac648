"""What people and programs see: the only room that prints."""
