//! Events: what the operator tells people about an object, where `kubectl describe` shows it.
//!
//! [`Events`] takes words at once and never keeps a caller waiting; [`Events::run`] writes them, one
//! at a time. [`desk`] says which and when. kube's own recorder is not used: to it Events with other
//! words are the same Event, whose words stay those of the first, and it knows no limit.

pub mod desk;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use millstream_clock::{Clock, Entropy, task};
use millstream_types::Millis;
use parking_lot::Mutex;
use serde_json::json;

use self::desk::{Desk, Failed, Job, Next, Subject, Topic, Words};
use crate::apply::{code, is_passing};
use crate::names::FIELD_MANAGER;
use crate::pulse::Pulse;

/// Longest note that an API server takes, in bytes.
const NOTE_BYTES_MAX: usize = 1_024;
/// Longest part of an Event's name that is the object's own.
const NAME_BYTES_MAX: usize = 200;
/// Least time between two writes, over all objects.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for the API server.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);
/// What was done, in the words of an Event.
const ACTION: &str = "Reconcile";

/// Where Events go. Clones are one.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    client: Client,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pod: String,
    desk: Mutex<Desk>,
    told: Pulse,
}

impl Events {
    /// Events that say they are from `pod`. Nothing is written before [`Events::run`].
    #[must_use]
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        pod: String,
    ) -> Self {
        Self(Arc::new(Inner {
            client,
            clock,
            entropy,
            pod,
            desk: Mutex::default(),
            told: Pulse::default(),
        }))
    }

    /// Tells people about `object`.
    pub fn tell<K>(&self, object: &K, is_warning: bool, reason: &str, note: &str)
    where
        K: kube::Resource<DynamicType = ()>,
    {
        let subject = subject(object.object_ref(&()));
        let words = Words {
            topic: Topic {
                is_warning,
                reason: reason.to_owned(),
            },
            note: shortened(note, NOTE_BYTES_MAX).to_owned(),
        };
        let (at, now) = (self.0.clock.now(), self.0.clock.monotonic());
        if self.0.desk.lock().tell(&subject, words, at, now) {
            self.0.told.beat();
        } else {
            let object = subject.name;
            tracing::warn!(object, reason, note, "too many events wait: it is not told");
        }
    }

    /// Writes what is told, until the process ends.
    pub async fn run(self) {
        let mut told = self.0.told.listen();
        loop {
            let now = self.0.clock.monotonic();
            let next = self.0.desk.lock().next(now);
            match next {
                Next::Write(job) => {
                    self.write(*job).await;
                    task::sleep(PAUSE).await;
                },
                Next::At(moment) => {
                    let wait = moment.saturating_sub(now);
                    // No word can come at the end.
                    if task::timeout(wait, told.heard()).await == Ok(false) {
                        return;
                    }
                },
                Next::Nothing => {
                    if !told.heard().await {
                        return;
                    }
                },
            }
        }
    }

    async fn write(&self, job: Job) {
        let api: Api<Event> = Api::namespaced(self.0.client.clone(), &job.subject.namespace);
        let moment = time(job.at);
        let name = match &job.again {
            Some((name, _)) => name.clone(),
            None => format!(
                "{}.{:016x}",
                own_part(&job.subject.name),
                self.0.entropy.u64()
            ),
        };
        let write = async {
            match &job.again {
                Some((_, count)) => {
                    let series = EventSeries {
                        count: i32::try_from(*count).unwrap_or(i32::MAX),
                        last_observed_time: moment,
                    };
                    let patch = Patch::Merge(json!({"series": series}));
                    api.patch(&name, &PatchParams::default(), &patch).await
                },
                None => {
                    let event = self.event(&job, &name, moment);
                    api.create(&PostParams::default(), &event).await
                },
            }
        };
        let outcome = task::timeout(WRITE_WAIT_MAX, write).await;
        let now = self.0.clock.monotonic();
        let (how, problem) = match outcome {
            Ok(Ok(_)) => {
                self.0.desk.lock().written(job, name, now);
                return;
            },
            Ok(Err(error)) => (failed(&job, &error), error.to_string()),
            Err(_) => (Failed::Passing, "no answer".to_owned()),
        };
        let object = job.subject.name.clone();
        let Words { topic, note } = job.words.clone();
        let is_tried_again = self.0.desk.lock().failed(job, how, now);
        if !is_tried_again {
            let reason = topic.reason;
            tracing::warn!(object, reason, note, problem, "an event was not written");
        }
    }

    fn event(&self, job: &Job, name: &str, moment: MicroTime) -> Event {
        let Job { subject, words, .. } = job;
        let type_ = if words.topic.is_warning {
            "Warning"
        } else {
            "Normal"
        };
        Event {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(subject.namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some(ACTION.to_owned()),
            event_time: Some(moment),
            note: Some(words.note.clone()),
            reason: Some(words.topic.reason.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(subject.api_version.clone()),
                kind: Some(subject.kind.clone()),
                namespace: Some(subject.namespace.clone()),
                name: Some(subject.name.clone()),
                uid: Some(subject.uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.0.pod.clone()),
            type_: Some(type_.to_owned()),
            ..Event::default()
        }
    }
}

fn subject(object: ObjectReference) -> Subject {
    Subject {
        api_version: object.api_version.unwrap_or_default(),
        kind: object.kind.unwrap_or_default(),
        namespace: object.namespace.unwrap_or_default(),
        name: object.name.unwrap_or_default(),
        uid: object.uid.unwrap_or_default(),
    }
}

fn failed(job: &Job, error: &kube::Error) -> Failed {
    match code(error) {
        Some(404) if job.again.is_some() => Failed::Gone,
        // Another Event has the name.
        Some(409) => Failed::Passing,
        _ if is_passing(error) => Failed::Passing,
        _ => Failed::Refused,
    }
}

fn time(at: Millis) -> MicroTime {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    MicroTime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
}

/// The beginning of a name that a dot may follow.
fn own_part(name: &str) -> &str {
    shortened(name, NAME_BYTES_MAX).trim_end_matches(['.', '-'])
}

/// At most `bytes_max` bytes of `text`, in whole characters.
fn shortened(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_and_names_stay_in_what_an_api_server_takes() {
        let note = "é".repeat(NOTE_BYTES_MAX);
        assert_eq!(shortened(&note, NOTE_BYTES_MAX).len(), NOTE_BYTES_MAX);
        let odd = format!("a{note}");
        assert_eq!(shortened(&odd, NOTE_BYTES_MAX).len(), NOTE_BYTES_MAX - 1);
        assert_eq!(shortened("short", NOTE_BYTES_MAX), "short");
        let name = format!("{}.-b", "a".repeat(NAME_BYTES_MAX - 2));
        assert_eq!(own_part(&name), "a".repeat(NAME_BYTES_MAX - 2));
    }
}
