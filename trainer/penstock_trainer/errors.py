"""What the trainer raises when the input is at fault."""


class InputError(ValueError):
    """The user's input is at fault: the message names the thing, the value and the fix, and is shown without a
    traceback.
    """
