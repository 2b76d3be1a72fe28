"""Boards: a bundle's self-test, the log that it writes, and what that says of the core's table."""
