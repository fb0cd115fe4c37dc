"""Compares what was read with what was put. Pure: no server, no clock."""

import collections

EXAMPLES = 3


def judge(rows: list, ledger, found: dict) -> tuple:
    """(faults, repeats): what is wrong, as lines of text, and how many records came twice."""
    faults = []
    occurrences = collections.Counter()
    positions = {}
    first_of_key = {}
    broken, disordered, unsorted = [], [], []
    for shard, records in found.items():
        last_number = -1
        for row, sequence_number, whole in records:
            if not whole:
                broken.append(row)
            if int(sequence_number) <= last_number:
                unsorted.append(row)
            last_number = int(sequence_number)
            positions[(shard, sequence_number)] = row
            occurrences[row] += 1
            if occurrences[row] == 1:
                key = rows[row][0]
                if row < first_of_key.get(key, -1):
                    disordered.append(row)
                first_of_key[key] = row
    missing = [row for row in range(len(rows)) if not occurrences[row]]
    moved = [
        row
        for row, acks in ledger.acked.items()
        for ack in acks
        if positions.get(ack) != row
    ]
    unacked = [row for row in range(len(rows)) if row not in ledger.acked]
    excused = ledger.in_doubt | ledger.sent_again
    repeated = [row for row, times in occurrences.items() if times > 1]
    unexplained = [row for row in repeated if row not in excused]
    for what, those in (
        ("rows are missing", missing),
        ("rows were never acknowledged", unacked),
        ("acknowledged rows are not at their sequence number", moved),
        ("rows differ from what was put", broken),
        ("records are out of sequence in their shard", unsorted),
        ("first occurrences are out of order in their key", disordered),
        ("rows came twice although every request with them was answered", unexplained),
    ):
        if those:
            faults.append(f"{len(those):,} {what}, such as {sorted(those)[:EXAMPLES]}")
    repeats = sum(times - 1 for times in occurrences.values() if times > 1)
    return faults, repeats
