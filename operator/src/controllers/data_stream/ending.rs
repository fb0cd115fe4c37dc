//! Whether an object that is being deleted may go: once its records are dealt with.
//!
//! Pure: [`super::controller`] looks at the stream, asks [`next`], and does what it says.

use millstream_control::coordinator::{Phase, StreamFacts};
use millstream_crds::data_stream::DataStreamResource;
use millstream_types::StreamUid;

use super::claims::was_made;
use super::seen::DELETING;
use super::status::Reason;
use super::validate::{self, Refusal};
use crate::plan::{Plan, Verdict};

/// What is to be done with an object that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its records stay, as its spec asks: it may go.
    Retained(StreamUid),
    /// Its records are removed: it may go.
    Removed(StreamUid),
    /// Its records are not dealt with yet.
    Waiting {
        /// What is waited for.
        message: String,
        /// Whether where the records are is known, so that they are on their way out.
        is_deleting: bool,
    },
}

/// The stream of the object, if it ever had one: what its status says goes before the verdict,
/// since that is the stream whose records there are.
#[must_use]
pub fn stream_of(object: &DataStreamResource, verdict: &Verdict) -> Option<StreamUid> {
    let status = object.status.as_ref();
    let shown = status.and_then(|status| status.stream_id.as_deref()?.parse().ok());
    shown.or_else(|| verdict.outcome.as_ref().ok().map(|stream| stream.uid))
}

/// What is to be done with `object`, whose stream is `uid`.
#[must_use]
pub fn next(
    object: &DataStreamResource,
    verdict: &Verdict,
    uid: StreamUid,
    facts: &StreamFacts,
    plan: &Plan,
    is_settled: bool,
) -> Ending {
    if !validate::deletes_records(object) {
        return Ending::Retained(uid);
    }
    let refusal = verdict.outcome.as_ref().err();
    let is_planned = plan.streams.contains_key(&uid);
    let unknown = [Reason::PlacementUnreadable, Reason::PlacementLost];
    // Another refusal hides that the placement is unknown.
    let is_hidden = was_made(object) && facts.home.is_none() && !is_planned;
    let is_unknown = |refusal: &Refusal| unknown.contains(&refusal.reason) || is_hidden;
    // With DELETING its home was heard of, and had it removed.
    let is_placement_known =
        status_word(object) == Some(DELETING) || !refusal.is_some_and(is_unknown);
    // Refused from the beginning: the plan does not even ask for its end.
    let was_never_placed = !is_planned && facts.home.is_none() && is_settled && is_placement_known;
    if facts.phase == Phase::Gone || was_never_placed {
        return Ending::Removed(uid);
    }
    let is_wanted_gone = plan.streams.get(&uid).is_some_and(|stream| stream.delete);
    let message = match (&facts.message, is_wanted_gone) {
        (Some(message), _) => message.clone(),
        (None, _) if !is_placement_known => {
            let why = refusal.filter(|refusal| unknown.contains(&refusal.reason));
            let why = why.map_or("no placement has it", |why| why.message.as_str());
            format!("it is not known where its records are: {why}")
        },
        (None, true) => format!("the records of stream {uid} are being removed"),
        (None, false) => "waiting for the operator's next plan".to_owned(),
    };
    Ending::Waiting {
        message,
        is_deleting: is_placement_known,
    }
}

fn status_word(object: &DataStreamResource) -> Option<&str> {
    object.status.as_ref()?.stream_status.as_deref()
}

#[cfg(test)]
mod tests {
    use millstream_control::coordinator::Wait;
    use millstream_crds::DataStreamStatus;
    use millstream_crds::data_stream::{DataStreamSpec, DeletionPolicy};

    use super::*;

    const UID: StreamUid = StreamUid(7);

    fn object(policy: DeletionPolicy, word: Option<&str>) -> DataStreamResource {
        let spec = DataStreamSpec {
            deletion_policy: Some(policy),
            ..DataStreamSpec::default()
        };
        let mut object = DataStreamResource::new("orders", spec);
        object.status = Some(DataStreamStatus {
            stream_id: Some(UID.to_string()),
            stream_status: word.map(str::to_owned),
            ..DataStreamStatus::default()
        });
        object
    }

    fn refused(reason: Reason) -> Verdict {
        Verdict {
            generation: 1,
            outcome: Err(Refusal {
                reason,
                message: "why".to_owned(),
            }),
        }
    }

    fn facts(phase: Phase) -> StreamFacts {
        StreamFacts {
            home: None,
            phase,
            version: None,
            shard_count: None,
            gateways_behind: Vec::new(),
            unavailable: Vec::new(),
            message: None,
        }
    }

    fn ending(object: &DataStreamResource, reason: Reason, phase: Phase, settled: bool) -> Ending {
        let verdict = refused(reason);
        assert_eq!(stream_of(object, &verdict), Some(UID));
        let plan = Plan::default();
        next(object, &verdict, UID, &facts(phase), &plan, settled)
    }

    #[test]
    fn an_object_goes_when_its_records_stay_or_are_removed_and_never_on_a_guess() {
        let delete = object(DeletionPolicy::Delete, None);
        let waiting = Phase::Waiting(Wait::Settling);
        let invalid = Reason::SpecInvalid;
        let kept = object(DeletionPolicy::Retain, None);
        assert_eq!(
            ending(&kept, invalid, waiting, false),
            Ending::Retained(UID)
        );
        assert_eq!(
            ending(&delete, invalid, Phase::Gone, false),
            Ending::Removed(UID)
        );
        // never placed: only a leader that has heard from everybody can know
        assert_eq!(
            ending(&delete, invalid, waiting, true),
            Ending::Removed(UID)
        );
        assert!(matches!(
            ending(&delete, invalid, waiting, false),
            Ending::Waiting {
                is_deleting: true,
                ..
            }
        ));
    }

    #[test]
    fn a_stream_that_was_made_is_not_taken_for_removed_because_its_object_is_refused() {
        let waiting = Phase::Waiting(Wait::Settling);
        for word in ["ACTIVE", "UPDATING"] {
            let made = object(DeletionPolicy::Delete, Some(word));
            for reason in [Reason::SpecInvalid, Reason::AccountTaken, Reason::PoolFull] {
                let message = "it is not known where its records are: no placement has it";
                let stays = Ending::Waiting {
                    message: message.to_owned(),
                    is_deleting: false,
                };
                assert_eq!(ending(&made, reason, waiting, true), stays, "{reason:?}");
            }
        }
        let creating = object(DeletionPolicy::Delete, Some("CREATING"));
        let removed = ending(&creating, Reason::SpecInvalid, waiting, true);
        assert_eq!(removed, Ending::Removed(UID));
    }

    #[test]
    fn an_object_whose_placement_cannot_be_read_stays_unless_its_end_had_begun() {
        let waiting = Phase::Waiting(Wait::Settling);
        let unreadable = Reason::PlacementUnreadable;
        let delete = object(DeletionPolicy::Delete, None);
        let message = "it is not known where its records are: why".to_owned();
        let is_deleting = false;
        assert_eq!(
            ending(&delete, unreadable, waiting, true),
            Ending::Waiting {
                message,
                is_deleting
            }
        );
        let begun = object(DeletionPolicy::Delete, Some(DELETING));
        assert_eq!(
            ending(&begun, unreadable, waiting, true),
            Ending::Removed(UID)
        );
    }
}
