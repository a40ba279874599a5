"""The one exception for mistakes that a user can repair."""


class UserError(Exception):
    """One line per problem: what, where, what to do. Printed without a traceback; exit code 1."""
