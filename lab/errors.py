"""What may go wrong in the lab, for the person who reads it."""


class LabError(Exception):
    """What was tried, on what, why it failed, what to do next."""


class MissingError(LabError):
    """Something that the machine lacks and that could not be had: a package, or a right. Tests skip on it."""


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception that is no group itself."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
