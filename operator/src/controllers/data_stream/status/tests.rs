use super::*;

fn seen(phase: Phase) -> Seen {
    Seen {
        phase,
        stream_name: "flights".to_owned(),
        stream_id: Some("0".repeat(32)),
        stream_arn: Some("arn:aws:kinesis:eu-west-1:000000000001:stream/flights".to_owned()),
        stream_status: Some("ACTIVE".to_owned()),
        shard_count: Some(4),
        selector: Some("millstream.dev/pool=default".to_owned()),
        groups_away: Vec::new(),
    }
}

fn stalled() -> Phase {
    Phase::Stalled(
        Reason::PoolUnknown,
        "there is no pool class fast".to_owned(),
    )
}

fn creating() -> Phase {
    Phase::Progressing(Reason::Creating, "0 of 4 shards".to_owned())
}

/// The conditions that hold, and the reason of Ready.
fn summary(status: &DataStreamStatus) -> (Vec<&str>, &str) {
    let held = status.conditions.iter().filter(|c| c.status == "True");
    let ready = status.conditions.iter().find(|c| c.kind == READY);
    (
        held.map(|c| c.kind.as_str()).collect(),
        ready.map_or("", |c| c.reason.as_str()),
    )
}

#[test]
fn each_phase_holds_the_conditions_that_kstatus_expects() {
    let away = Seen {
        groups_away: vec!["team/default/1".to_owned()],
        ..seen(Phase::Active)
    };
    let unborn = Seen {
        stream_id: None,
        ..seen(Phase::Paused)
    };
    for (seen, held, reason) in [
        (seen(Phase::Active), vec![READY], "Active"),
        (seen(creating()), vec![RECONCILING], "Creating"),
        (seen(stalled()), vec![STALLED], "PoolUnknown"),
        (seen(Phase::Paused), vec![READY], "Paused"),
        (unborn, vec![], "Paused"),
        (away, vec![SHARDS_UNAVAILABLE], "PodsAway"),
    ] {
        let status = next(
            &DataStreamStatus::default(),
            &seen,
            3,
            "2026-01-01T00:00:00Z",
        );
        assert_eq!(summary(&status), (held, reason), "{seen:?}");
    }
}

#[test]
fn what_a_paused_object_says_now_is_not_observed() {
    let empty = DataStreamStatus::default();
    let before = next(&empty, &seen(Phase::Active), 2, "t1");
    let paused = next(&before, &seen(Phase::Paused), 3, "t2");
    assert_eq!(paused.observed_generation, Some(2));
    for condition in &paused.conditions {
        assert_eq!(condition.observed_generation, Some(2), "{}", condition.kind);
    }
}

#[test]
fn a_stream_that_was_ready_is_unheard_while_nothing_else_is_said_of_it() {
    let empty = DataStreamStatus::default();
    let ready = next(&empty, &seen(Phase::Active), 2, "t1");
    let waits = |reason| seen(Phase::Progressing(reason, "waiting".to_owned()));
    let placing = waits(Reason::Placing);
    assert!(is_unheard(&ready, &placing, 2));
    assert!(is_unheard(&ready, &waits(Reason::GatewaysCatchingUp), 2));
    let lost = Phase::Stalled(Reason::PlacementLost, "nobody knows".to_owned());
    assert!(is_unheard(&ready, &seen(lost), 2));
    // what changed since, or was said by a server, is news
    assert!(!is_unheard(&ready, &placing, 3));
    assert!(!is_unheard(&ready, &waits(Reason::Updating), 2));
    assert!(!is_unheard(&ready, &seen(stalled()), 2));
    assert!(!is_unheard(&empty, &placing, 2));
    let away = Seen {
        groups_away: vec!["team/default/1".to_owned()],
        ..placing
    };
    assert!(!is_unheard(&ready, &away, 2));
}

#[test]
fn a_transition_time_changes_with_the_status_alone() {
    let first = next(&DataStreamStatus::default(), &seen(creating()), 1, "t1");
    let other = Phase::Progressing(Reason::PoolStarting, "1 of 2 pods".to_owned());
    let second = next(&first, &seen(other), 2, "t2");
    let third = next(&second, &seen(Phase::Active), 2, "t3");
    let since = |status: &DataStreamStatus, kind: &str| {
        let found = status.conditions.iter().find(|c| c.kind == kind);
        found.expect("there").last_transition_time.clone()
    };
    assert_eq!(since(&second, READY), "t1");
    assert_eq!(since(&third, READY), "t3");
    assert_eq!(since(&third, STALLED), "t1");
    assert_eq!(third.observed_generation, Some(2));
}

#[test]
fn what_is_no_longer_seen_is_kept_and_foreign_conditions_stay() {
    let mut first = next(&DataStreamStatus::default(), &seen(Phase::Active), 1, "t1");
    first.conditions.push(Condition {
        kind: "Foreign".to_owned(),
        status: "True".to_owned(),
        observed_generation: None,
        last_transition_time: "t0".to_owned(),
        reason: "R".to_owned(),
        message: String::new(),
    });
    let blind = Seen {
        stream_id: None,
        shard_count: None,
        ..seen(creating())
    };
    let second = next(&first, &blind, 1, "t2");
    assert_eq!(second.stream_id, first.stream_id);
    assert_eq!(second.shard_count, Some(4));
    assert!(second.conditions.iter().any(|c| c.kind == "Foreign"));
}

#[test]
fn a_paused_object_keeps_the_generation_that_was_observed() {
    let first = next(&DataStreamStatus::default(), &seen(Phase::Active), 1, "t1");
    let paused = next(&first, &seen(Phase::Paused), 2, "t2");
    assert_eq!(paused.observed_generation, Some(1));
}

#[test]
fn numbers_wait_and_everything_else_does_not() {
    let first = next(&DataStreamStatus::default(), &seen(Phase::Active), 1, "t1");
    let mut more = first.clone();
    more.shard_count = Some(5);
    let at = Duration::from_secs;
    assert_eq!(write(&first, &first, at(100)), Write::Not);
    assert_eq!(write(&first, &more, at(10)), Write::After(at(20)));
    assert_eq!(write(&first, &more, at(30)), Write::Now);
    let away = Seen {
        groups_away: vec!["g".to_owned()],
        ..seen(Phase::Active)
    };
    assert_eq!(
        write(&first, &next(&first, &away, 1, "t2"), at(0)),
        Write::Now
    );
    assert_eq!(
        write(&DataStreamStatus::default(), &first, at(0)),
        Write::Now
    );
}

#[test]
fn an_event_tells_each_new_reason_and_each_other_fault_once() {
    let first = next(&DataStreamStatus::default(), &seen(creating()), 1, "t1");
    let told = |old: &DataStreamStatus, new: &DataStreamStatus| -> Vec<(String, bool)> {
        let notes = events(old, new);
        notes
            .into_iter()
            .map(|n| (n.reason, n.is_warning))
            .collect()
    };
    assert_eq!(
        told(&DataStreamStatus::default(), &first),
        [("Creating".to_owned(), false)]
    );
    assert_eq!(told(&first, &first), []);
    let active = next(&first, &seen(Phase::Active), 1, "t2");
    assert_eq!(told(&first, &active), [("Active".to_owned(), false)]);
    let away = Seen {
        groups_away: vec!["g".to_owned()],
        ..seen(Phase::Active)
    };
    let away = next(&active, &away, 1, "t3");
    assert_eq!(told(&active, &away), [("PodsAway".to_owned(), true)]);
    assert_eq!(told(&away, &active), [("Active".to_owned(), false)]);
    let refused = next(&active, &seen(stalled()), 2, "t4");
    assert_eq!(told(&active, &refused), [("PoolUnknown".to_owned(), true)]);
    assert_eq!(told(&refused, &refused), []);
    let other = Phase::Stalled(Reason::PoolUnknown, "there is no class slow".to_owned());
    let other = next(&refused, &seen(other), 3, "t5");
    assert_eq!(told(&refused, &other), [("PoolUnknown".to_owned(), true)]);
    // how far it is, is no news
    let further = Phase::Progressing(Reason::Creating, "3 of 4 shards".to_owned());
    let further = next(&first, &seen(further), 1, "t6");
    assert_eq!(told(&first, &further), []);
}
