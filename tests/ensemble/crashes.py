"""A run that ends in an error half-way, as a machine that fails ends it."""


class Crash(Exception):
    pass


def crashing_after(steps):
    """Tells of progress by an error, once so many steps are done."""
    done = 0

    def progress(more):
        nonlocal done
        done += more
        if done >= steps:
            raise Crash

    return progress
