"""What goes wrong by a user's mistake."""


class UserError(ValueError):
    """A mistake that the user can mend: one sentence with the value that is wrong and what would be right."""
