"""Tries the judges among the scripts on planted faults: the demo's verdict, the counts of CI,
and whether a machine is too busy to be measured.

`python3 e2e/selftest.py`; needs no server and no package.
"""

import contextlib
import io
import pathlib
import subprocess
import sys
import unittest
from unittest import mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE / "demo"))
import bench_peers
import verdict

ROWS = [("a", b"0"), ("b", b"1"), ("a", b"2"), ("b", b"3")]


class Ledger:
    """What a loader knows when every row was acknowledged once, on shard `s`, at number row + 10."""

    def __init__(self):
        self.acked = {row: [("s", str(row + 10))] for row in range(len(ROWS))}
        self.in_doubt = set()
        self.sent_again = set()


def read(*rows, numbers=None):
    """What a reader found: the rows in this order, at the numbers that they were acknowledged at."""
    numbers = numbers or [row + 10 for row in rows]
    return {"s": [(row, str(number), True) for row, number in zip(rows, numbers)]}


class Verdict(unittest.TestCase):
    """`verdict.judge` on one fault at a time."""

    def fault(self, found, ledger=None):
        """The only fault found."""
        faults, _ = verdict.judge(ROWS, ledger or Ledger(), found)
        self.assertEqual(len(faults), 1, faults)
        return faults[0]

    def test_a_clean_run_has_no_fault(self):
        self.assertEqual(verdict.judge(ROWS, Ledger(), read(0, 1, 2, 3)), ([], 0))

    def test_a_lost_row_that_nobody_acknowledged_is_missing(self):
        ledger = Ledger()
        del ledger.acked[3]
        faults, _ = verdict.judge(ROWS, ledger, read(0, 1, 2))
        self.assertIn("missing", faults[0])
        self.assertIn("never acknowledged", faults[1])

    def test_an_acknowledged_row_that_is_gone_is_found_out(self):
        faults, _ = verdict.judge(ROWS, Ledger(), read(0, 1, 2))
        self.assertIn("missing", faults[0])
        self.assertIn("not at their sequence number", faults[1])

    def test_a_row_at_another_number_is_found_out(self):
        found = read(0, 1, 2, 3, numbers=[10, 11, 12, 99])
        self.assertIn("not at their sequence number", self.fault(found))

    def test_changed_data_are_found_out(self):
        found = read(0, 1, 2, 3)
        found["s"][1] = (1, "11", False)
        self.assertIn("differ", self.fault(found))

    def test_rows_of_a_key_in_the_wrong_order_are_found_out(self):
        ledger = Ledger()
        ledger.acked.update({0: [("s", "12")], 2: [("s", "10")]})
        found = read(2, 1, 0, 3, numbers=[10, 11, 12, 13])
        self.assertIn("out of order in their key", self.fault(found, ledger))

    def test_records_out_of_sequence_are_found_out(self):
        self.assertIn("out of sequence", self.fault(read(1, 0, 2, 3)))

    def test_a_repeat_needs_a_request_without_an_answer(self):
        found = read(0, 1, 2, 3, 1, numbers=[10, 11, 12, 13, 14])
        self.assertIn("came twice", self.fault(found))
        ledger = Ledger()
        ledger.in_doubt.add(1)
        self.assertEqual(verdict.judge(ROWS, ledger, found), ([], 1))


class BusyMachine(unittest.TestCase):
    """`bench_peers` on readings of /proc/stat: user nice system idle iowait irq softirq steal."""

    def share(self, after):
        return bench_peers.busy_share("cpu  10 0 10 100 10 0 0 0 0 0\ncpu0 1\n", after)

    def test_idle_and_waiting_for_a_disk_are_not_busy(self):
        self.assertEqual(self.share("cpu  10 0 10 290 20 0 0 0 0 0\n"), 0)

    def test_work_of_any_kind_and_stolen_time_are_busy(self):
        self.assertEqual(self.share("cpu  30 10 20 120 20 10 10 10 0 0\n"), 0.7)

    def test_a_busy_machine_ends_the_run_and_says_so(self):
        with mock.patch.object(bench_peers, "busy_share", lambda *_: 0.42), mock.patch("time.sleep"):
            with self.assertRaisesRegex(bench_peers.Busy, "worked 42% .* say --busy"):
                bench_peers.watch(False)
            with contextlib.redirect_stderr(io.StringIO()) as said:
                self.assertEqual(bench_peers.watch(True), 0.42)
            self.assertIn("noise", said.getvalue())


class Count(unittest.TestCase):
    """`count.py` on logs."""

    def last_line(self, log, stages="0"):
        """The closing line, and whether the exit code says success."""
        command = [sys.executable, str(HERE / "count.py"), stages]
        done = subprocess.run(command, input=log, capture_output=True, text=True, timeout=30)
        return done.stdout.splitlines()[-1], done.returncode == 0

    def test_counts_of_every_kind_are_added_up(self):
        log = (
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured\n"
            "clients: 10 passed, 0 failed, 1 skipped\n"
            "apiserver: 100 passed, 0 failed, 0 skipped\n"
            '{"cycles":20,"lost":0,"doubled":0,"reordered":0,"phantom":0}\n'
            f"{_demo_line()}\n"
        )
        self.assertEqual(self.last_line(log), ("136 passed, 0 failed, 2 skipped", True))

    def test_one_failed_test_fails_the_run(self):
        log = "test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured\n"
        self.assertEqual(self.last_line(log), ("5 passed, 1 failed, 0 skipped", False))

    def test_a_fault_in_the_crash_loop_fails_the_run(self):
        log = '{"cycles":20,"lost":1,"doubled":0,"reordered":0,"phantom":0}\n'
        self.assertEqual(self.last_line(log), ("0 passed, 20 failed, 0 skipped", False))

    def test_a_stage_that_died_silently_fails_the_run(self):
        self.assertFalse(self.last_line("", stages="1")[1])
        self.assertFalse(self.last_line("")[1])


def _demo_line() -> str:
    text = (HERE / "demo" / "demo.py").read_text(encoding="utf-8")
    line = "every row is there, in order per key, at its sequence number"
    assert f'say("{line}")' in text, "count.py looks for a line that the demo does not print"
    return line


def main() -> int:
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromModule(sys.modules[__name__])
    output = io.StringIO()
    result = unittest.TextTestRunner(stream=output, verbosity=1).run(suite)
    failed = len(result.failures) + len(result.errors)
    if failed:
        print(output.getvalue())
    print(f"scripts: {result.testsRun - failed} passed, {failed} failed, {len(result.skipped)} skipped")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
