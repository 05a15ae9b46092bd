"""How a request to a server can fail: for good, or for a cause that may pass."""


class Failed(Exception):
    """A request has no usable reply, and asking again at once would not give one."""


class Passing(Failed):
    """A request failed for a cause that may pass.

    Attributes:
        retry_after: seconds that the server asks to wait; None where it does not say.
        answered: whether there was a server at all.
    """

    def __init__(self, text: str, retry_after: float | None = None, answered: bool = True) -> None:
        super().__init__(text)
        self.retry_after, self.answered = retry_after, answered
