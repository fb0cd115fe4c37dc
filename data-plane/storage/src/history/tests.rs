//! Clean histories pass; each kind of fault, planted in one, is found and counted as what it is.

use super::*;
use crate::testkit::Dice;

const A: ShardUid = ShardUid(1);
const B: ShardUid = ShardUid(2);

fn see(checker: &mut Checker, shard: ShardUid, from: u64, records: &[(u64, u64)], tip: u64) {
    let seen = Seen {
        shard,
        began: checker.moment(),
        from,
        records: records.to_vec(),
        tip: Some(tip),
    };
    checker.saw(&seen);
}

fn acked(checker: &mut Checker, shard: ShardUid, ids: &[u64], first: u64) {
    let append = checker.invoke(shard, ids);
    checker.ok(append, first);
}

/// Ids 1, 2 and 3 are acknowledged at their numbers in shard A.
fn three() -> Checker {
    let mut checker = Checker::new();
    acked(&mut checker, A, &[1], 1);
    acked(&mut checker, A, &[2, 3], 2);
    checker
}

/// (lost, doubled, reordered, phantom)
fn counts(checker: Checker) -> (u64, u64, u64, u64) {
    let report = checker.finish();
    let counts = (
        report.lost,
        report.doubled,
        report.reordered,
        report.phantom,
    );
    assert_eq!(report.is_clean(), counts == (0, 0, 0, 0));
    assert_eq!(report.faults.is_empty(), report.is_clean());
    counts
}

const CLEAN: (u64, u64, u64, u64) = (0, 0, 0, 0);

#[test]
fn a_clean_history_passes_and_counts_what_was_acknowledged() {
    let mut checker = three();
    let unknown = checker.invoke(A, &[4]);
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3)], 4);
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3), (4, 4)], 5);
    checker.ok(unknown, 4);
    acked(&mut checker, B, &[5], 1);
    see(&mut checker, A, 3, &[(3, 3)], 5);
    assert_eq!(checker.so_far().acked, 5);
    assert_eq!(
        counts(checker),
        (1, 0, 0, 0),
        "the last read hides number 4"
    );
}

#[test]
fn random_clean_histories_pass() {
    for seed in 0..50 {
        let dice = Dice::new(seed);
        let mut checker = Checker::new();
        let (mut log, mut next_id, mut open) = (Vec::new(), 0, Vec::new());
        for _ in 0..300 {
            match dice.below(4) {
                0 => {
                    let ids: Vec<u64> = (next_id..next_id + dice.between(1, 3)).collect();
                    next_id += 3;
                    open.push((checker.invoke(A, &ids), ids));
                },
                1 if !open.is_empty() => {
                    let (append, ids) = open.swap_remove(dice.index(open.len()));
                    let first = log.len() as u64 + 1;
                    if dice.chance(4, 5) {
                        log.extend(ids);
                        checker.ok(append, first);
                    } else if dice.chance(1, 2) {
                        checker.refused(append);
                    } else {
                        log.extend(ids);
                    }
                },
                _ => {
                    let from = dice.between(1, log.len() as u64 + 1);
                    let numbered: Vec<(u64, u64)> = (1..).zip(log.iter().copied()).collect();
                    let records = &numbered[usize::try_from(from).unwrap() - 1..];
                    see(&mut checker, A, from, records, log.len() as u64 + 1);
                },
            }
        }
        let report = checker.finish();
        assert!(report.is_clean(), "seed {seed}: {:?}", report.faults);
    }
}

#[test]
fn an_acknowledged_record_behind_the_end_is_lost() {
    let mut checker = three();
    see(&mut checker, A, 1, &[(1, 1), (2, 2)], 3);
    // counted once, however often it is missed
    see(&mut checker, A, 1, &[(1, 1), (2, 2)], 3);
    assert_eq!(counts(checker), (1, 0, 0, 0));
}

#[test]
fn a_record_that_was_only_seen_must_stay() {
    let mut checker = three();
    checker.invoke(A, &[4]);
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3), (4, 4)], 5);
    see(&mut checker, A, 4, &[], 4);
    let report = checker.finish();
    let lost = Fault::Lost {
        shard: A,
        number: 4,
        id: 4,
        acked: false,
    };
    assert_eq!((report.lost, report.faults), (1, vec![lost]));
}

#[test]
fn a_record_whose_number_went_to_another_is_lost() {
    let mut checker = three();
    acked(&mut checker, A, &[4], 3);
    assert_eq!(counts(checker), (1, 0, 0, 0));
}

#[test]
fn a_record_that_becomes_durable_while_a_read_is_under_way_need_not_be_shown() {
    let mut checker = three();
    let began = checker.moment();
    acked(&mut checker, A, &[4], 4);
    let seen = Seen {
        shard: A,
        began,
        from: 4,
        records: vec![],
        tip: Some(4),
    };
    checker.saw(&seen);
    assert_eq!(counts(checker), CLEAN);
}

#[test]
fn a_gap_is_lost_data_even_where_nobody_knew_a_record() {
    let mut checker = three();
    checker.invoke(A, &[5]);
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3), (5, 5)], 6);
    assert_eq!(counts(checker), (1, 0, 0, 0));
    let mut checker = three();
    see(&mut checker, A, 1, &[(1, 1), (3, 3)], 4);
    assert_eq!(counts(checker), (1, 0, 0, 0));
}

#[test]
fn a_record_at_two_numbers_is_doubled() {
    let mut checker = three();
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3), (4, 3)], 5);
    assert_eq!(counts(checker), (0, 1, 0, 0));
    let mut checker = three();
    let unknown = checker.invoke(A, &[4]);
    see(&mut checker, A, 4, &[(4, 4)], 5);
    checker.ok(unknown, 5);
    assert_eq!(counts(checker), (0, 1, 0, 0));
}

#[test]
fn a_later_append_below_an_earlier_one_is_reordered() {
    let mut checker = Checker::new();
    acked(&mut checker, A, &[1], 2);
    acked(&mut checker, A, &[2], 1);
    assert_eq!(counts(checker), (0, 0, 1, 0));
    // at the same time, any order is right
    let mut checker = Checker::new();
    let (first, second) = (checker.invoke(A, &[1]), checker.invoke(A, &[2]));
    checker.ok(first, 2);
    checker.ok(second, 1);
    assert_eq!(counts(checker), CLEAN);
}

#[test]
fn an_append_below_a_record_that_was_only_seen_is_reordered() {
    let mut checker = three();
    checker.invoke(A, &[4]);
    let seen = Seen {
        shard: A,
        began: checker.moment(),
        from: 5,
        records: vec![(5, 4)],
        tip: None,
    };
    checker.saw(&seen);
    acked(&mut checker, A, &[5], 4);
    assert_eq!(counts(checker), (0, 0, 1, 0));
}

#[test]
fn the_records_of_one_append_stand_together_in_their_order() {
    let mut checker = Checker::new();
    checker.invoke(A, &[1, 2]);
    see(&mut checker, A, 1, &[(1, 2), (2, 1)], 3);
    assert_eq!(counts(checker), (0, 0, 1, 0));
}

#[test]
fn a_read_that_goes_back_is_reordered() {
    let mut checker = three();
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (2, 2), (3, 3)], 4);
    assert_eq!(counts(checker), (0, 0, 1, 0));
}

#[test]
fn a_record_that_nobody_sent_is_a_phantom() {
    for (shard, id) in [(A, 99), (B, 1), (A, GARBLED)] {
        let mut checker = three();
        let number = if shard == A { 4 } else { 1 };
        see(&mut checker, shard, number, &[(number, id)], number + 1);
        assert_eq!(counts(checker), (0, 0, 0, 1), "{id}");
    }
}

#[test]
fn a_refused_record_that_shows_up_is_a_phantom() {
    let mut checker = three();
    let refused = checker.invoke(A, &[4]);
    checker.refused(refused);
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3), (4, 4)], 5);
    assert_eq!(counts(checker), (0, 0, 0, 1));
}

#[test]
fn a_trim_may_hide_old_records_only() {
    let mut checker = three();
    checker.trimming(A, 3);
    see(&mut checker, A, 1, &[(1, 1), (2, 2), (3, 3)], 4);
    see(&mut checker, A, 1, &[(3, 3)], 4);
    assert_eq!(counts(checker), CLEAN);
    let mut checker = three();
    checker.trimming(A, 2);
    see(&mut checker, A, 1, &[(3, 3)], 4);
    assert_eq!(
        counts(checker),
        (1, 0, 0, 0),
        "number 2 was too young to go"
    );
    let mut checker = three();
    checker.trimming(A, 2);
    see(&mut checker, A, 1, &[], 4);
    assert_eq!(
        counts(checker),
        (2, 0, 0, 0),
        "an empty shard hides young records too"
    );
}

#[test]
fn a_trimmed_record_must_not_come_back() {
    let mut checker = three();
    checker.trimming(A, 3);
    checker.trimmed(A, 3);
    see(&mut checker, A, 1, &[(2, 2), (3, 3)], 4);
    assert_eq!(counts(checker), (0, 0, 0, 1));
}

#[test]
fn a_sealed_shard_takes_no_record_that_was_sent_later() {
    let mut checker = three();
    let before = checker.invoke(A, &[4]);
    checker.sealed(A);
    checker.ok(before, 4);
    acked(&mut checker, A, &[5], 5);
    assert_eq!(counts(checker), (0, 0, 0, 1));
}

#[test]
fn parents_end_before_children_begin() {
    let mut checker = three();
    checker.child(B, A);
    checker.sealed(A);
    acked(&mut checker, B, &[4], 1);
    assert_eq!(counts(checker), CLEAN);
    for seal_late in [false, true] {
        let mut checker = three();
        checker.child(B, A);
        acked(&mut checker, B, &[4], 1);
        if seal_late {
            checker.sealed(A);
        }
        assert_eq!(counts(checker), (0, 0, 1, 0));
    }
}

#[test]
fn a_shard_that_is_gone_has_lost_all_unless_it_was_dropped() {
    let mut checker = three();
    let began = checker.moment();
    checker.saw_no_shard(A, began);
    assert_eq!(counts(checker), (3, 0, 0, 0));
    let mut checker = three();
    checker.dropping(A);
    let began = checker.moment();
    checker.saw_no_shard(A, began);
    assert_eq!(counts(checker), CLEAN);
}

#[test]
fn a_store_that_does_not_open_has_lost_all() {
    let mut checker = three();
    acked(&mut checker, B, &[4], 1);
    checker.saw_no_store();
    assert_eq!(counts(checker), (4, 0, 0, 0));
}
