use super::*;

const NOW: Duration = Duration::from_secs(1_000);

fn subject(name: &str) -> Subject {
    Subject {
        api_version: "millstream.dev/v1alpha1".to_owned(),
        kind: "DataStream".to_owned(),
        namespace: "team".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
    }
}

fn words(reason: &str, note: &str) -> Words {
    Words {
        topic: Topic {
            is_warning: true,
            reason: reason.to_owned(),
        },
        note: note.to_owned(),
    }
}

fn tell(desk: &mut Desk, reason: &str, note: &str, now: Duration) {
    let at = Millis(u64::try_from(now.as_millis()).expect("small"));
    assert!(desk.tell(&subject("a"), words(reason, note), at, now));
}

/// Writes all that may be written at `now`; the notes, and how often each was told by then.
fn write(desk: &mut Desk, now: Duration) -> Vec<(String, u32)> {
    let mut done = Vec::new();
    while let Next::Write(job) = desk.next(now) {
        let told = job.again.as_ref().map_or(job.times, |(_, count)| *count);
        let made = format!("{}.{}.{:?}", job.subject.name, job.words.note, now);
        let event = job.again.as_ref().map_or(made, |(event, _)| event.clone());
        done.push((job.words.note.clone(), told));
        desk.written(*job, event, now);
    }
    done
}

#[test]
fn other_words_are_another_event_and_the_same_words_count_up_theirs() {
    let mut desk = Desk::default();
    tell(&mut desk, "SpecInvalid", "first", NOW);
    assert_eq!(write(&mut desk, NOW), [("first".to_owned(), 1)]);
    tell(&mut desk, "SpecInvalid", "second", NOW);
    assert_eq!(write(&mut desk, NOW), [("second".to_owned(), 1)]);
    tell(&mut desk, "SpecInvalid", "first", NOW);
    assert_eq!(write(&mut desk, NOW), [("first".to_owned(), 2)]);
    // long after, the same words are news again
    tell(&mut desk, "SpecInvalid", "first", NOW + SAME_FOR);
    assert_eq!(write(&mut desk, NOW + SAME_FOR), [("first".to_owned(), 1)]);
    assert_eq!(desk.next(NOW + SAME_FOR), Next::Nothing);
}

#[test]
fn an_object_that_flaps_is_told_of_with_its_newest_words_and_the_others_at_once() {
    let mut desk = Desk::default();
    let mut writes = 0;
    for number in 0..100 {
        tell(&mut desk, "PodsAway", &format!("pod {number}"), NOW);
        writes += write(&mut desk, NOW).len();
    }
    assert_eq!(writes, usize::try_from(BURST).expect("few"));
    assert_eq!(desk.next(NOW), Next::At(NOW + ONE_MORE_EACH));
    assert!(desk.tell(&subject("b"), words("Active", "serves"), Millis(0), NOW));
    assert_eq!(write(&mut desk, NOW), [("serves".to_owned(), 1)]);
    let later = NOW + ONE_MORE_EACH;
    assert_eq!(write(&mut desk, later), [("pod 99".to_owned(), 1)]);
    assert_eq!(desk.next(later), Next::Nothing);
    assert!(desk.subjects[&subject("a")].written.len() <= REMEMBERED_MAX);
}

#[test]
fn the_same_words_told_while_they_wait_are_all_counted() {
    let mut desk = Desk::default();
    for _ in 0..3 {
        tell(&mut desk, "PodsAway", "away", NOW);
    }
    assert_eq!(write(&mut desk, NOW), [("away".to_owned(), 3)]);
    tell(&mut desk, "PodsAway", "away", NOW);
    assert_eq!(write(&mut desk, NOW), [("away".to_owned(), 4)]);
}

#[test]
fn what_failed_is_tried_again_a_few_times_and_never_over_newer_words() {
    let mut desk = Desk::default();
    tell(&mut desk, "PodsAway", "old", NOW);
    let take = |desk: &mut Desk| match desk.next(NOW) {
        Next::Write(job) => *job,
        other => panic!("{other:?}"),
    };
    let job = take(&mut desk);
    tell(&mut desk, "PodsAway", "new", NOW);
    assert!(desk.failed(job, Failed::Passing, NOW));
    let job = take(&mut desk);
    assert_eq!(job.words.note, "new");
    assert!(desk.failed(job, Failed::Passing, NOW));
    let job = take(&mut desk);
    assert!(desk.failed(job, Failed::Passing, NOW));
    let job = take(&mut desk);
    assert!(!desk.failed(job, Failed::Passing, NOW), "given up");
    assert_eq!(desk.next(NOW), Next::Nothing);
    tell(&mut desk, "PodsAway", "refused", NOW);
    let job = take(&mut desk);
    assert!(!desk.failed(job, Failed::Refused, NOW));
}

#[test]
fn an_event_that_is_gone_is_made_anew() {
    let mut desk = Desk::default();
    tell(&mut desk, "PodsAway", "away", NOW);
    write(&mut desk, NOW);
    tell(&mut desk, "PodsAway", "away", NOW);
    let Next::Write(job) = desk.next(NOW) else {
        panic!("nothing to write");
    };
    assert!(job.again.is_some());
    assert!(desk.failed(*job, Failed::Gone, NOW));
    let Next::Write(job) = desk.next(NOW) else {
        panic!("nothing to write");
    };
    assert_eq!(job.again, None);
}

#[test]
fn what_waits_and_what_is_remembered_is_bounded() {
    let mut desk = Desk::default();
    for number in 0..WAITING_MAX {
        let about = subject(&format!("s{number}"));
        assert!(desk.tell(&about, words("Active", "serves"), Millis(0), NOW));
    }
    let one_more = subject("one-more");
    assert!(!desk.tell(&one_more, words("Active", "serves"), Millis(0), NOW));
    assert_eq!(write(&mut desk, NOW).len(), WAITING_MAX);
    assert_eq!(desk.next(NOW + SAME_FOR), Next::Nothing);
    assert_eq!(desk.subjects.len(), 0);
    assert!(desk.tell(&one_more, words("Active", "serves"), Millis(0), NOW));
}
