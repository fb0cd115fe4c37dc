"""Counts the checks of a script: failures are printed, successes only counted.

The closing line is what `count.py` adds up.
"""

import traceback


class Tally:
    """Checks by name; a failed one does not stop those after it."""

    def __init__(self, room):
        self.room = room
        self.passed, self.failed, self.skipped = 0, 0, 0

    def check(self, name):
        """`with tally.check("name"):` is one check; an exception fails it."""
        return _Check(self, name)

    def skip(self, name, reason):
        """Says what is not tried here, and what would have to be there."""
        self.skipped += 1
        print(f"SKIPPED {self.room}: {name}: skipped: {reason}", flush=True)

    def finish(self) -> int:
        """Prints the counts and returns the exit code."""
        print(
            f"{self.room}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped",
            flush=True,
        )
        return 1 if self.failed or not (self.passed or self.skipped) else 0


class _Check:
    def __init__(self, tally, name):
        self.tally, self.name = tally, name

    def __enter__(self):
        return None

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.tally.passed += 1
            return False
        if not issubclass(kind, Exception):
            return False
        self.tally.failed += 1
        print(f"FAILED {self.tally.room}: {self.name}", flush=True)
        lines = [str(error)] if kind is AssertionError else traceback.format_exception(error)
        for line in "".join(lines).splitlines():
            print(f"  {line}", flush=True)
        return True


def equal(found, wanted, what=""):
    """Fails with both values if they differ."""
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}".removeprefix(": "))


def holds(condition, message):
    """Fails with `message` unless `condition` holds; unlike `assert` it is never compiled away."""
    if not condition:
        raise AssertionError(message)
