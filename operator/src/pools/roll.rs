//! Rolling a pool: which pod is deleted next, so that it comes back with the new template.
//!
//! One pod at a time, the next only when every group of the pool is open and acknowledges again.
//! Pure: the loop that asks looks at pods and observed states, and does what this says.

/// A pod of a pool, and what is known of the group on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its ordinal.
    pub ordinal: u32,
    /// Its UID, so that its successor is not deleted in its stead.
    pub uid: String,
    /// The template it was made from.
    pub revision: String,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// Whether its probe says that it is ready.
    pub is_ready: bool,
    /// Whether its group is open, attached and acknowledges.
    pub is_serving: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every pod has the template and serves.
    Done,
    /// Nothing, until a pod serves.
    Wait {
        /// The pod's ordinal.
        ordinal: u32,
    },
    /// Delete the pod with this ordinal and UID.
    Restart {
        /// The pod's ordinal.
        ordinal: u32,
        /// The pod's UID.
        uid: String,
    },
}

/// The next step towards `revision` on all of `replicas` pods.
///
/// A pod that is not ready anyway goes first, if it is out of date: the new template may be what
/// mends it, and waiting for it would be for ever. Else the highest ordinal goes first, as a
/// StatefulSet does it. A pod that is ready but whose group is not known to serve is waited for:
/// it may serve, and only have lost its way to this operator.
#[must_use]
pub fn next(replicas: u32, revision: &str, pods: &[PodView]) -> Step {
    let find = |ordinal: u32| pods.iter().find(|pod| pod.ordinal == ordinal);
    let mut broken = None;
    for ordinal in 0..replicas {
        match find(ordinal) {
            Some(pod) if pod.is_serving && !pod.is_terminating => {},
            Some(pod) if !pod.is_terminating && !pod.is_ready && pod.revision != revision => {
                broken = broken.or(Some(pod));
            },
            Some(_) | None => return Step::Wait { ordinal },
        }
    }
    let outdated = || {
        let mut downwards = (0..replicas).rev().filter_map(find);
        downwards.find(|pod| pod.revision != revision)
    };
    broken.or_else(outdated).map_or(Step::Done, restart)
}

fn restart(pod: &PodView) -> Step {
    Step::Restart {
        ordinal: pod.ordinal,
        uid: pod.uid.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(ordinal: u32, revision: &str, is_serving: bool) -> PodView {
        PodView {
            ordinal,
            uid: format!("uid-{ordinal}"),
            revision: revision.to_owned(),
            is_terminating: false,
            is_ready: is_serving,
            is_serving,
        }
    }

    fn restarted(ordinal: u32) -> Step {
        Step::Restart {
            ordinal,
            uid: format!("uid-{ordinal}"),
        }
    }

    #[test]
    fn the_highest_ordinal_goes_first_and_the_next_waits_for_it() {
        let old = [pod(0, "a", true), pod(1, "a", true)];
        assert_eq!(next(2, "b", &old), restarted(1));
        let gone = [pod(0, "a", true)];
        assert_eq!(next(2, "b", &gone), Step::Wait { ordinal: 1 });
        let starting = [pod(0, "a", true), pod(1, "b", false)];
        assert_eq!(next(2, "b", &starting), Step::Wait { ordinal: 1 });
        let back = [pod(0, "a", true), pod(1, "b", true)];
        assert_eq!(next(2, "b", &back), restarted(0));
        let done = [pod(0, "b", true), pod(1, "b", true)];
        assert_eq!(next(2, "b", &done), Step::Done);
    }

    #[test]
    fn a_pod_that_never_serves_is_restarted_although_it_is_down() {
        let broken = [pod(0, "a", false), pod(1, "a", true)];
        assert_eq!(next(2, "b", &broken), restarted(0));
        let mut ending = [pod(0, "a", false), pod(1, "b", false)];
        ending[1].is_terminating = true;
        assert_eq!(next(2, "b", &ending), Step::Wait { ordinal: 1 });
        let mut unknown = [pod(0, "a", false), pod(1, "a", false)];
        unknown[1].is_ready = true;
        assert_eq!(next(2, "b", &unknown), Step::Wait { ordinal: 1 });
    }

    proptest! {
        #[test]
        fn never_two_serving_pods_are_away_at_once(
            states in proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..6),
        ) {
            let replicas = u32::try_from(states.len()).expect("few");
            let pods: Vec<PodView> = (0..).zip(&states).map(|(ordinal, state)| {
                let mut view = pod(ordinal, if state.0 { "a" } else { "b" }, state.1);
                view.is_terminating = state.2;
                view
            }).collect();
            if let Step::Restart { ordinal, .. } = next(replicas, "b", &pods) {
                let chosen = &pods[usize::try_from(ordinal).expect("small")];
                prop_assert_eq!(&chosen.revision, "a");
                prop_assert!(pods.iter().all(|pod| !pod.is_terminating));
                let all_serve = pods.iter().all(|pod| pod.is_serving);
                prop_assert!(all_serve || !chosen.is_ready);
                let others = pods.iter().filter(|pod| pod.ordinal != ordinal);
                prop_assert!(others.clone().all(|pod| pod.is_serving || pod.revision == "a"));
            }
        }

        #[test]
        fn a_roll_ends_when_each_restarted_pod_comes_back(replicas in 1_u32..8) {
            let mut pods: Vec<PodView> = (0..replicas).map(|n| pod(n, "a", true)).collect();
            for _ in 0..replicas {
                let Step::Restart { ordinal, .. } = next(replicas, "b", &pods) else {
                    return Err(TestCaseError::fail("ended early"));
                };
                pods[usize::try_from(ordinal).expect("small")].revision = "b".to_owned();
            }
            prop_assert_eq!(next(replicas, "b", &pods), Step::Done);
        }
    }
}
