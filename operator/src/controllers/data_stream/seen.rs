//! From the verdict over an object and the facts of its stream to what the status should show.
//!
//! Pure.

use millstream_control::Identity;
use millstream_control::coordinator::{Phase as Fact, StreamFacts, Wait};
use millstream_crds::data_stream::DataStreamResource;
use millstream_types::StreamArn;

use super::status::{Phase, Reason, Seen};
use super::validate::{self, ValidatedDataStream};
use crate::names::{PoolKey, selector_text};
use crate::plan::Verdict;

/// AWS's words for the states of a stream.
const CREATING: &str = "CREATING";
const ACTIVE: &str = "ACTIVE";
const UPDATING: &str = "UPDATING";
pub(super) const DELETING: &str = "DELETING";
/// Most gateways that a message names.
const NAMED_MAX: usize = 3;

/// What there is to be seen of `object`.
#[must_use]
pub fn seen(
    object: &DataStreamResource,
    verdict: &Verdict,
    facts: Option<&StreamFacts>,
    wanted_version: Option<millstream_control::Version>,
    is_paused: bool,
    instance: &str,
) -> Seen {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let key = PoolKey::new(namespace, object.spec.pool.clone());
    let stream = verdict.outcome.as_ref().ok();
    let is_current = match (facts.and_then(|facts| facts.version), wanted_version) {
        (Some(has), Some(wants)) => has >= wants,
        _ => false,
    };
    let phase = match &verdict.outcome {
        _ if is_paused => Phase::Paused,
        Err(refusal) => Phase::Stalled(refusal.reason, refusal.message.clone()),
        Ok(_) => phase(&key, facts, is_current),
    };
    Seen {
        phase,
        stream_name: validate::stream_name(object).to_owned(),
        stream_id: stream.map(|stream| stream.uid.to_string()),
        stream_arn: stream.map(arn),
        stream_status: facts
            .and_then(|facts| word(facts, is_current))
            .map(str::to_owned),
        shard_count: facts
            .and_then(|facts| facts.shard_count)
            .and_then(|count| i32::try_from(count).ok()),
        selector: stream.map(|_| selector_text(&key.selector(instance))),
        groups_away: facts
            .map(|facts| facts.unavailable.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
    }
}

/// Which gateways do not serve the stream as it is; none when all do, or when there is none: the
/// stream itself serves, and a gateway says that it is ready only when it knows what there is.
fn catching_up(behind: &[Identity]) -> Option<String> {
    let named: Vec<&str> = behind.iter().take(NAMED_MAX).map(Identity::name).collect();
    if named.is_empty() {
        return None;
    }
    let more = match behind.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "waiting for {}{more} to hear of it",
        named.join(", ")
    ))
}

fn arn(stream: &ValidatedDataStream) -> String {
    StreamArn {
        region: stream.scope.region.clone(),
        account: stream.scope.account.clone(),
        name: stream.spec.name.clone(),
    }
    .to_string()
}

fn phase(key: &PoolKey, facts: Option<&StreamFacts>, is_current: bool) -> Phase {
    let progress = |reason, text: &str| Phase::Progressing(reason, text.to_owned());
    let Some(facts) = facts else {
        return progress(Reason::Placing, "the operator has just begun");
    };
    let message = facts.message.as_deref();
    match facts.phase {
        Fact::Waiting(Wait::NoGroup) => Phase::Progressing(
            Reason::PoolStarting,
            format!("the pool {key} is being made"),
        ),
        Fact::Waiting(Wait::PoolFull) => Phase::Stalled(
            Reason::Refused,
            format!("the pool {key} has as many streams as it can; name another in spec.pool"),
        ),
        Fact::Waiting(Wait::Settling) => {
            progress(Reason::Placing, "waiting for the servers of all pools")
        },
        Fact::Waiting(Wait::Persisting) => {
            progress(Reason::Placing, "its place is being written down")
        },
        Fact::Waiting(Wait::Home) => match &facts.home {
            Some(home) => Phase::Progressing(
                Reason::PoolStarting,
                format!("waiting for the pod {}", key.pod_name(home.ordinal())),
            ),
            None => progress(Reason::Placing, "waiting for a server"),
        },
        Fact::Creating => progress(
            Reason::Creating,
            message.unwrap_or("the shards are being made"),
        ),
        // Gateways cannot hear of it while its home is away; the pods' being away says more.
        Fact::Active if is_current && !facts.unavailable.is_empty() => Phase::Active,
        Fact::Active if is_current => match catching_up(&facts.gateways_behind) {
            Some(text) => Phase::Progressing(Reason::GatewaysCatchingUp, text),
            None => Phase::Active,
        },
        Fact::Active => match message {
            Some(message) => Phase::Stalled(Reason::Refused, message.to_owned()),
            None => progress(Reason::Updating, "the settings are being changed"),
        },
        Fact::Lost => Phase::Stalled(
            Reason::RecordsLost,
            message
                .unwrap_or("its home does not have it any more")
                .to_owned(),
        ),
        Fact::Retained => match message {
            Some(message) => Phase::Stalled(Reason::Refused, message.to_owned()),
            None => progress(Reason::Placing, "its records are being taken over"),
        },
        Fact::Deleting | Fact::Gone => progress(
            Reason::Deleting,
            message.unwrap_or("the records are being removed"),
        ),
    }
}

fn word(facts: &StreamFacts, is_current: bool) -> Option<&'static str> {
    match facts.phase {
        Fact::Creating => Some(CREATING),
        Fact::Active if is_current => Some(ACTIVE),
        Fact::Active => Some(UPDATING),
        Fact::Deleting | Fact::Gone => Some(DELETING),
        // Nothing was reported, or nobody served it: what was said before is kept.
        Fact::Waiting(_) | Fact::Retained | Fact::Lost => None,
    }
}

#[cfg(test)]
mod tests {
    use millstream_control::{StreamSpec, Version};
    use millstream_crds::DataStreamSpec;
    use millstream_types::{GroupId, Scope, StreamUid};

    use super::*;
    use crate::controllers::data_stream::validate::Refusal;

    fn object() -> DataStreamResource {
        let mut object = DataStreamResource::new("flights", DataStreamSpec::default());
        object.metadata.namespace = Some("team".to_owned());
        object
    }

    fn good() -> Verdict {
        Verdict {
            generation: 1,
            outcome: Ok(ValidatedDataStream {
                uid: StreamUid(1),
                scope: Scope {
                    account: "000000000001".parse().expect("an account"),
                    region: "eu-west-1".parse().expect("a region"),
                },
                spec: StreamSpec::new("flights".parse().expect("a name")),
                pool: PoolKey::new("team", "default"),
                generation: 1,
            }),
        }
    }

    fn facts(phase: Fact, version: u64) -> StreamFacts {
        StreamFacts {
            home: GroupId::new("team", "default", 1).ok(),
            phase,
            version: Some(Version(version)),
            shard_count: Some(4),
            gateways_behind: Vec::new(),
            unavailable: Vec::new(),
            message: None,
        }
    }

    fn at(facts: &StreamFacts) -> Seen {
        seen(
            &object(),
            &good(),
            Some(facts),
            Some(Version(2)),
            false,
            "r",
        )
    }

    #[test]
    fn each_fact_has_its_phase_and_word() {
        let waits = |wait| facts(Fact::Waiting(wait), 0);
        for (facts, reason, word) in [
            (waits(Wait::NoGroup), "PoolStarting", None),
            (waits(Wait::Settling), "Placing", None),
            (waits(Wait::Home), "PoolStarting", None),
            (facts(Fact::Creating, 2), "Creating", Some("CREATING")),
            (facts(Fact::Active, 2), "Active", Some("ACTIVE")),
            (facts(Fact::Active, 1), "Updating", Some("UPDATING")),
            (facts(Fact::Retained, 1), "Placing", None),
            (facts(Fact::Lost, 0), "RecordsLost", None),
            (facts(Fact::Deleting, 1), "Deleting", Some("DELETING")),
        ] {
            let seen = at(&facts);
            let said = match &seen.phase {
                Phase::Active => "Active",
                Phase::Paused => "Paused",
                Phase::Progressing(reason, _) | Phase::Stalled(reason, _) => reason.as_str(),
            };
            assert_eq!(said, reason, "{facts:?}");
            assert_eq!(seen.stream_status.as_deref(), word, "{facts:?}");
        }
        let waiting = at(&waits(Wait::Home));
        assert!(format!("{:?}", waiting.phase).contains("millstream-shard-default-1"));
    }

    #[test]
    fn records_that_are_not_taken_over_say_why() {
        let mut facts = facts(Fact::Retained, 1);
        facts.message = Some("set spec.retentionPeriodHours to 168 or more".to_owned());
        let seen = at(&facts);
        let message = facts.message.expect("set");
        assert_eq!(seen.phase, Phase::Stalled(Reason::Refused, message));
        assert_eq!(seen.stream_status, None);
    }

    #[test]
    fn gateways_that_catch_up_are_named_unless_pods_are_away() {
        let gateway = |n: u32| {
            let role = millstream_control::Role::Gateway;
            Identity::new("ms", role, &format!("gw-{n}")).expect("an identity")
        };
        let mut facts = facts(Fact::Active, 2);
        facts.gateways_behind = (0..5).map(gateway).collect();
        let text = "waiting for gw-0, gw-1, gw-2 and 2 more to hear of it";
        assert_eq!(
            at(&facts).phase,
            Phase::Progressing(Reason::GatewaysCatchingUp, text.to_owned())
        );
        assert_eq!(at(&facts).stream_status.as_deref(), Some("ACTIVE"));
        facts.unavailable = facts.home.iter().cloned().collect();
        assert_eq!(at(&facts).phase, Phase::Active);
    }

    #[test]
    fn a_stream_has_its_arn_and_a_refused_one_only_its_reason() {
        let shown = at(&facts(Fact::Active, 2));
        let arn = "arn:aws:kinesis:eu-west-1:000000000001:stream/flights";
        assert_eq!(shown.stream_arn.as_deref(), Some(arn));
        let refused = Verdict {
            generation: 1,
            outcome: Err(Refusal {
                reason: Reason::PoolUnknown,
                message: "no such pool".to_owned(),
            }),
        };
        let bare = seen(&object(), &refused, None, None, false, "r");
        assert_eq!(bare.stream_id, None);
        assert_eq!(
            bare.phase,
            Phase::Stalled(Reason::PoolUnknown, "no such pool".to_owned())
        );
    }

    #[test]
    fn what_a_home_refuses_is_stalled_and_shown() {
        let mut refused = facts(Fact::Active, 1);
        refused.message = Some("no room".to_owned());
        let phase = at(&refused).phase;
        assert_eq!(phase, Phase::Stalled(Reason::Refused, "no room".to_owned()));
    }
}
