"""Reports checks one by one, in the Test Anything Protocol, so that every script is counted alike."""

import sys
import traceback


class Report:
    """Counts checks; a failed one does not stop those after it."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, name):
        """`with report.check("name"):` is one check; an exception fails it."""
        return _Check(self, name)

    def finish(self) -> int:
        """Prints the plan and returns the exit code."""
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed or not self.count else 0


class _Check:
    def __init__(self, report, name):
        self.report, self.name = report, name

    def __enter__(self):
        self.report.count += 1

    def __exit__(self, kind, error, trace):
        if kind is not None and not issubclass(kind, Exception):
            return False
        word = "ok" if kind is None else "not ok"
        print(f"{word} {self.report.count} - {self.name}", flush=True)
        if kind is not None:
            self.report.failed += 1
            for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
                print(f"  # {line}", flush=True)
            sys.stdout.flush()
        return True
