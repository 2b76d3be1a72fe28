"""The one exception that users see."""


class UserError(Exception):
    """Something the user can mend; the command line prints it on one line and exits with status 2.

    The message names the file or setting, the offending value and the remedy.
    """
