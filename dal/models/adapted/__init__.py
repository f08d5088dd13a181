"""A user's module as dal runs it: its batch, its head, and its passes in scoring."""
