"""The one exception for mistakes that a user can repair."""


class UserError(Exception):
    """A mistake in a config, the data or a run directory.

    ``str(error)`` holds one line per problem (what, where, what to do); the command line prints it
    without a traceback and exits with 1.
    """
