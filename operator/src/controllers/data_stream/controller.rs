//! The reconcile of one `DataStream`: what the plan made of it, the facts of its stream, its status
//! and its finalizer.
//!
//! The plan itself ([`crate::plan`]) is made for all objects at once, by [`crate::steer`]; here is
//! what is written to the one object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use millstream_crds::data_stream::DataStreamResource;
use millstream_crds::{DataStreamStatus, annotations};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;

use super::ending::{self, Ending};
use super::seen;
use super::status::{self, Phase, Reason, Write};
use crate::apply;
use crate::context::Context;
use crate::metrics::{ErrorLabels, KindLabel};
use crate::names::{FIELD_MANAGER, FINALIZER, STATUS_MANAGER};
use crate::plan::{Verdict, is_on};

/// A reconcile without any news, so that what was missed is seen.
const RESYNC: Duration = Duration::from_secs(300);
/// Wait for the plan to catch up with an object that has just changed.
const PLAN_PAUSE: Duration = Duration::from_millis(500);
/// Least time between two rounds over all objects.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// First wait after a failure; doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a reconcile is repeated.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused, or is away.
    #[error("DataStream {object}: {source}")]
    Api {
        /// Namespace and name.
        object: String,
        /// What it said.
        source: Box<kube::Error>,
    },
}

/// The controller over one namespace, or all of them.
pub struct DataStreams {
    context: Arc<Context>,
    slots: Arc<Semaphore>,
    began: Duration,
    failures: Mutex<BTreeMap<String, u32>>,
    written: Mutex<BTreeMap<String, Duration>>,
}

const KIND: KindLabel = KindLabel { kind: "DataStream" };

/// Reconciles until the process ends. `slots` bounds the reconciles of all namespaces together.
pub async fn run(context: Arc<Context>, api: Api<DataStreamResource>, slots: Arc<Semaphore>) {
    let rounds = context.planned.listen().into_stream(ROUND_PAUSE);
    let began = context.clock.monotonic();
    let state = Arc::new(DataStreams {
        context,
        slots,
        began,
        failures: Mutex::default(),
        written: Mutex::default(),
    });
    Controller::new(api, watcher::Config::default())
        // The slots are what bounds them, over all namespaces: here they wait, and are counted.
        .with_config(Config::default().concurrency(0))
        .reconcile_all_on(rounds)
        .run(reconcile, retry, state)
        .for_each(async |outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a reconcile will be repeated");
            }
        })
        .await;
}

async fn reconcile(
    object: Arc<DataStreamResource>,
    state: Arc<DataStreams>,
) -> Result<Action, ReconcileError> {
    let metrics = &state.context.metrics;
    metrics.queue.get_or_create(&KIND).inc();
    // It is closed never: the process ends before.
    let slot = Arc::clone(&state.slots).acquire_owned().await;
    let begun = state.context.clock.monotonic();
    let outcome = state.step(&object).await;
    let took = state.context.clock.monotonic().saturating_sub(begun);
    metrics
        .reconciles
        .get_or_create(&KIND)
        .observe(took.as_secs_f64());
    metrics.queue.get_or_create(&KIND).dec();
    drop(slot);
    let name = full_name(&object);
    match outcome {
        Ok(action) => {
            state.failures.lock().remove(&name);
            Ok(action)
        },
        Err(source) => Err(ReconcileError::Api {
            object: name,
            source: Box::new(source),
        }),
    }
}

fn retry(
    object: Arc<DataStreamResource>,
    error: &ReconcileError,
    state: Arc<DataStreams>,
) -> Action {
    let ReconcileError::Api { source, .. } = error;
    let reason = apply::reason(source);
    let labels = ErrorLabels {
        kind: KIND.kind,
        reason,
    };
    state.context.metrics.errors.get_or_create(&labels).inc();
    let mut failures = state.failures.lock();
    let count = failures.entry(full_name(&object)).or_default();
    let wait = RETRY_FIRST
        .saturating_mul(1 << (*count).min(6))
        .min(RETRY_MAX);
    *count += 1;
    // Somebody else's write is a matter of course; anything else a person may have to look at.
    if reason == "Conflict" || reason == "NotFound" {
        tracing::debug!(%error, ?wait, "a reconcile failed");
    } else {
        tracing::warn!(%error, ?wait, "a reconcile failed");
    }
    Action::requeue(wait)
}

impl DataStreams {
    async fn step(&self, object: &DataStreamResource) -> Result<Action, kube::Error> {
        let has_finalizer = object.finalizers().iter().any(|name| name == FINALIZER);
        if self
            .context
            .is_ending(&object.namespace().unwrap_or_default())
        {
            return self.let_go(object, has_finalizer).await;
        }
        if object.metadata.deletion_timestamp.is_some() {
            if !has_finalizer {
                return Ok(Action::await_change());
            }
            return self.end(object).await;
        }
        if !has_finalizer {
            // Its answer comes back as an event.
            self.set_finalizers(object, true).await?;
            return Ok(Action::await_change());
        }
        self.show(object).await
    }

    /// Of a namespace that is being deleted: the pods and volumes of its streams go whatever the
    /// objects say, and so do the rights to write them. Nothing is waited for.
    async fn let_go(
        &self,
        object: &DataStreamResource,
        has_finalizer: bool,
    ) -> Result<Action, kube::Error> {
        if has_finalizer {
            self.set_finalizers(object, false).await?;
            tracing::info!(
                object = full_name(object),
                "let go with its namespace, which is being deleted"
            );
        }
        Ok(Action::await_change())
    }

    /// Brings the status up to date.
    async fn show(&self, object: &DataStreamResource) -> Result<Action, kube::Error> {
        let plan = self.context.plan();
        let verdict = plan.verdict(object);
        let current = object.metadata.generation.unwrap_or_default();
        let Some(verdict) = verdict.filter(|verdict| verdict.generation == current) else {
            return Ok(Action::requeue(PLAN_PAUSE));
        };
        let seen = self.seen(object, verdict);
        let old = object.status.clone().unwrap_or_default();
        match self.settling() {
            Some(left) if status::is_unheard(&old, &seen, current) => {
                Ok(Action::requeue(left.max(PLAN_PAUSE)))
            },
            Some(_) | None => self.write_status(object, &seen).await,
        }
    }

    /// How long this leader may still take to hear from every server.
    fn settling(&self) -> Option<Duration> {
        let settles = Duration::from_secs(self.context.config.settle_seconds);
        let age = self.context.clock.monotonic().saturating_sub(self.began);
        settles.checked_sub(age).filter(|left| !left.is_zero())
    }

    fn seen(&self, object: &DataStreamResource, verdict: &Verdict) -> status::Seen {
        let uid = match &verdict.outcome {
            Ok(stream) => Some(stream.uid),
            Err(_) => object
                .status
                .as_ref()
                .and_then(|status| status.stream_id.as_deref())
                .and_then(|id| id.parse().ok()),
        };
        let facts = uid.map(|uid| self.context.station.stream(uid));
        let plan = self.context.plan();
        let wanted = uid
            .and_then(|uid| plan.streams.get(&uid))
            .map(|wanted| wanted.version);
        seen::seen(
            object,
            verdict,
            facts.as_ref(),
            wanted,
            is_on(object, annotations::PAUSE),
            &self.context.config.instance,
        )
    }

    /// Lets the object go, once its records are dealt with.
    async fn end(&self, object: &DataStreamResource) -> Result<Action, kube::Error> {
        let plan = self.context.plan();
        let Some(verdict) = plan.verdict(object) else {
            return Ok(Action::requeue(PLAN_PAUSE));
        };
        let mut seen = self.seen(object, verdict);
        if is_on(object, annotations::PAUSE) {
            return self.write_status(object, &seen).await;
        }
        let Some(uid) = ending::stream_of(object, verdict) else {
            self.set_finalizers(object, false).await?;
            return Ok(Action::await_change());
        };
        let station = &self.context.station;
        let (facts, is_settled) = (station.stream(uid), station.is_settled());
        let (reason, note) = match ending::next(object, verdict, uid, &facts, &plan, is_settled) {
            Ending::Retained(uid) => (
                Reason::Retained.as_str(),
                format!("the records of stream {uid} are retained"),
            ),
            Ending::Removed(uid) => (
                "Deleted",
                format!("the records of stream {uid} are removed"),
            ),
            Ending::Waiting {
                message,
                is_deleting,
            } => {
                if is_deleting {
                    // A later leader takes a home that is gone for removed, and not for lost.
                    seen.stream_status = Some(seen::DELETING.to_owned());
                }
                seen.phase = Phase::Progressing(Reason::Deleting, message);
                return self.write_status(object, &seen).await;
            },
        };
        self.context.events.tell(object, false, reason, &note);
        self.set_finalizers(object, false).await?;
        Ok(Action::await_change())
    }

    async fn write_status(
        &self,
        object: &DataStreamResource,
        seen: &status::Seen,
    ) -> Result<Action, kube::Error> {
        let old = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let now = self.context.clock.now();
        let moment = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
        let now = Timestamp::from_second(moment)
            .unwrap_or(Timestamp::MAX)
            .to_string();
        let new = status::next(&old, seen, generation, &now);
        let name = full_name(object);
        let age = self.age(&name);
        match status::write(&old, &new, age) {
            Write::Not => Ok(Action::requeue(RESYNC)),
            Write::After(left) => Ok(Action::requeue(left)),
            Write::Now => {
                self.patch_status(object, &new).await?;
                let moment = self.context.clock.monotonic();
                self.written.lock().insert(name, moment);
                let events = &self.context.events;
                for note in status::events(&old, &new) {
                    events.tell(object, note.is_warning, &note.reason, &note.message);
                }
                Ok(Action::requeue(RESYNC))
            },
        }
    }

    /// How long ago the status was written; a long time, if this process never did.
    fn age(&self, name: &str) -> Duration {
        let written = self.written.lock().get(name).copied();
        let now = self.context.clock.monotonic();
        written.map_or(status::NUMBERS_EVERY, |at| now.saturating_sub(at))
    }

    async fn patch_status(
        &self,
        object: &DataStreamResource,
        new: &DataStreamStatus,
    ) -> Result<(), kube::Error> {
        let patch = json!({
            "apiVersion": millstream_crds::API_VERSION,
            "kind": millstream_crds::DataStream::KIND,
            // An object that was deleted and made anew has another UID: not that one's status.
            "metadata": {"name": object.name_any(), "uid": object.metadata.uid},
            "status": new,
        });
        let options = PatchParams::apply(STATUS_MANAGER).force();
        let patched = self
            .api(object)
            .patch_status(&object.name_any(), &options, &Patch::Apply(patch))
            .await;
        patched.map(drop)
    }

    /// Adds or removes our finalizer; a 409 says that the object has changed meanwhile.
    async fn set_finalizers(
        &self,
        object: &DataStreamResource,
        with_ours: bool,
    ) -> Result<(), kube::Error> {
        let others = object.finalizers().iter().filter(|name| *name != FINALIZER);
        let mut finalizers: Vec<&str> = others.map(String::as_str).collect();
        if with_ours {
            finalizers.push(FINALIZER);
        }
        let patch = json!({"metadata": {
            "resourceVersion": object.metadata.resource_version,
            "finalizers": finalizers,
        }});
        let options = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = self
            .api(object)
            .patch(&object.name_any(), &options, &Patch::Merge(patch))
            .await;
        match patched {
            Err(error) if apply::code(&error) != Some(404) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn api(&self, object: &DataStreamResource) -> Api<DataStreamResource> {
        let namespace = object.namespace().unwrap_or_default();
        Api::namespaced(self.context.client.clone(), &namespace)
    }
}

fn full_name(object: &DataStreamResource) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}
