"""Managed torch environments, the sandbox around them, and the client of the worker that runs in one."""
