"""Adds up what .ci/run ran, from its log on stdin, and prints one line of counts.

Counted: every Rust test, every check of a script (`room: N passed, ...`), each crash cycle, and the demo. What was
skipped is listed first, with the reason. The exit code is 0 only if nothing failed and something
passed. `count.py N` adds N failed stages, so that a stage that died without a count is seen.
"""

import json
import re
import sys

RUST = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
SCRIPTS = re.compile(r"^[a-z]+: (\d+) passed, (\d+) failed, (\d+) skipped$")
DEMO = "every row is there, in order per key, at its sequence number"
FAULTS = ("lost", "doubled", "reordered", "phantom")


def crash_cycles(line: str) -> tuple:
    """(passed, failed) of the crash loop's last line; a fault fails all of them."""
    try:
        result = json.loads(line)
    except ValueError:
        return 0, 0
    if not isinstance(result, dict) or "cycles" not in result:
        return 0, 0
    cycles, faulty = result["cycles"], any(result[fault] for fault in FAULTS)
    return (0, cycles) if faulty else (cycles, 0)


def main() -> int:
    passed, failed, skipped = 0, int(sys.argv[1]) if len(sys.argv) > 1 else 0, 0
    reasons = []
    for line in sys.stdin:
        line = line.rstrip("\n")
        counts = RUST.match(line) or SCRIPTS.match(line)
        if counts:
            passed += int(counts.group(1))
            failed += int(counts.group(2))
            skipped += int(counts.group(3))
        elif line.startswith("{"):
            good, bad = crash_cycles(line)
            passed, failed = passed + good, failed + bad
        elif line == DEMO:
            passed += 1
        if "skipped: " in line or re.match(r"^test .* \.\.\. ignored", line):
            reasons.append(line)
    for reason in reasons:
        print(f"skipped: {reason}")
    if skipped and not reasons:
        print("skipped: Rust tests marked #[ignore]; each says why in its source")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
