"""The one kind of error that is told to a person in one line, without a traceback."""


class Problem(Exception):
    """Something the person at the prompt can put right; its message is one line that says how."""
