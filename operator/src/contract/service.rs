//! The control contract, answered: who attaches goes to the station, who asks for a certificate is
//! looked at, and what SDK clients want becomes objects.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use millstream_control::attach::{Contract, PodIdentity, Session, SignError, Standby};
use millstream_control::{CreateStreamError, DeleteStreamError, Identity, StreamSpec};
use millstream_crds::data_stream::DataStreamResource;
use millstream_types::{AccountId, Scope, StreamName};
use parking_lot::RwLock;

use super::api_streams::{self, ApiStreams};
use super::creating::{Lanes, Made};
use super::keys::KeyKeeper;
use super::review::check_pod;
use crate::config::OperatorConfig;
use crate::context::Context;
use crate::controllers::data_stream::validate::Refusal;
use crate::steer;

/// An object that was made and is not seen after this time was removed meanwhile.
const UNSEEN_FOR_MAX: Duration = Duration::from_secs(60);

/// What this replica answers with: a standby until it leads.
#[derive(Clone)]
pub struct Operator(Arc<Inner>);

struct Inner {
    client: Client,
    config: Arc<OperatorConfig>,
    namespace: String,
    keys: KeyKeeper,
    leading: RwLock<Option<Arc<Context>>>,
    creating: Lanes,
}

/// Most objects of one namespace that are waited for to be seen.
const UNSEEN_MAX: usize = 256;

impl Operator {
    /// A standby.
    #[must_use]
    pub fn new(
        client: Client,
        config: Arc<OperatorConfig>,
        namespace: String,
        keys: KeyKeeper,
    ) -> Self {
        Self(Arc::new(Inner {
            client,
            config,
            namespace,
            keys,
            leading: RwLock::new(None),
            creating: Lanes::default(),
        }))
    }

    /// This replica leads from now on, until it ends.
    pub fn lead(&self, context: Arc<Context>) {
        *self.0.leading.write() = Some(context);
    }

    fn context(&self) -> Option<Arc<Context>> {
        self.0.leading.read().clone()
    }

    /// The namespace of the account, if it is watched.
    async fn namespace_of(&self, account: &AccountId) -> Option<(Arc<Context>, String)> {
        let context = self.context()?;
        let plan = context.made_plan().await;
        let mut accounts = plan.accounts.iter();
        let (namespace, _) = accounts.find(|(_, own)| own.own() == Some(account))?;
        Some((context, namespace.clone()))
    }

    async fn check_and_sign(
        &self,
        pod: &PodIdentity,
        identity: &Identity,
        request_pem: &str,
    ) -> Result<String, SignError> {
        let inner = &self.0;
        check_pod(
            &inner.client,
            &inner.config,
            &inner.namespace,
            pod,
            identity,
        )
        .await?;
        let signed = inner.keys.sign(request_pem, identity);
        signed.map_err(|error| SignError::Refused(error.to_string()))
    }

    async fn create(&self, scope: &Scope, spec: StreamSpec) -> Result<(), CreateStreamError> {
        let Some((context, namespace)) = self.namespace_of(&scope.account).await else {
            tracing::warn!(account = %scope.account, "CreateStream for an account without a namespace");
            return Err(CreateStreamError::Internal);
        };
        let name = spec.name.clone();
        let object = api_streams::object(spec)?;
        let is_seen = |made: &Made| is_seen(&context, made);
        let lane = self.0.creating.of(&namespace, is_seen);
        let mut turn = lane.turn().await.ok_or_else(throttled)?;
        let unseen = &mut turn.unseen;
        unseen.retain(|made| !is_seen(made));
        if unseen.len() >= UNSEEN_MAX {
            return Err(throttled());
        }
        match considered(&context, &namespace, &object, unseen) {
            Ok(()) => {
                let streams = ApiStreams::new(self.0.client.clone(), &namespace);
                let created = streams.create(scope, object).await?;
                unseen.push(Made {
                    object: Arc::new(created),
                    at: context.clock.monotonic(),
                });
                Ok(())
            },
            Err(refusal) => Err(api_streams::refused(&refusal, name.as_str(), scope)),
        }
    }

    async fn delete(&self, scope: &Scope, name: &StreamName) -> Result<(), DeleteStreamError> {
        match self.namespace_of(&scope.account).await {
            Some((_, namespace)) => {
                let streams = ApiStreams::new(self.0.client.clone(), &namespace);
                streams.delete(scope, name).await
            },
            None => Err(DeleteStreamError::Internal),
        }
    }
}

fn throttled() -> CreateStreamError {
    CreateStreamError::Throttled("Rate exceeded.".to_owned())
}

/// Whether the watch has shown the object since it was made; or was so late that it was made and
/// removed unseen.
fn is_seen(context: &Context, made: &Made) -> bool {
    let metadata = &made.object.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let age = context.clock.monotonic().saturating_sub(made.at);
    context.streams.get(namespace, name).is_some() || age > UNSEEN_FOR_MAX
}

/// Whether the object could be built: a client is told at once what a manifest's author reads in
/// the conditions.
fn considered(
    context: &Context,
    namespace: &str,
    object: &DataStreamResource,
    unseen: &[Made],
) -> Result<(), Refusal> {
    let mut young = object.clone();
    let now = i64::try_from(context.clock.now().seconds()).unwrap_or(i64::MAX);
    young.metadata.namespace = Some(namespace.to_owned());
    young.metadata.creation_timestamp = Timestamp::from_second(now).ok().map(Time);
    // It gets its own from the API server; this one is nobody's.
    young.metadata.uid = Some("0".repeat(32));
    let mut snapshot = steer::snapshot(context);
    for made in unseen {
        let uid = &made.object.metadata.uid;
        if snapshot
            .objects
            .iter()
            .all(|seen| seen.metadata.uid != *uid)
        {
            snapshot.objects.push(Arc::clone(&made.object));
        }
    }
    snapshot.consider(&young).map(drop)
}

impl Contract for Operator {
    fn leads(&self) -> bool {
        self.0.leading.read().is_some()
    }

    fn attach(&self, session: Session) -> BoxFuture<'_, Result<(), Standby>> {
        Box::pin(async move {
            let context = self.context().ok_or(Standby)?;
            context.station.attach(session);
            Ok(())
        })
    }

    fn sign<'a>(
        &'a self,
        pod: &'a PodIdentity,
        identity: &'a Identity,
        request_pem: &'a str,
    ) -> BoxFuture<'a, Result<String, SignError>> {
        Box::pin(self.check_and_sign(pod, identity, request_pem))
    }

    fn create_stream<'a>(
        &'a self,
        scope: &'a Scope,
        spec: StreamSpec,
    ) -> BoxFuture<'a, Result<(), CreateStreamError>> {
        Box::pin(self.create(scope, spec))
    }

    fn delete_stream<'a>(
        &'a self,
        scope: &'a Scope,
        name: &'a StreamName,
    ) -> BoxFuture<'a, Result<(), DeleteStreamError>> {
        Box::pin(self.delete(scope, name))
    }
}
