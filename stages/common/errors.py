"""The error that a program's user can fix."""


class InputError(Exception):
    """An error that the user can fix. The message gives the cause and the remedy in one line."""
