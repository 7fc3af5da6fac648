"""Subjects: what they agreed to, their withdrawal, and what is held about them."""
