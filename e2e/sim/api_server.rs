//! What a Kubernetes API server keeps for the operator: the lease, the placement, the streams.
//!
//! Writes are refused when the object has changed since it was read. A replica of the operator can
//! be cut off from it, and it can be deluded: it is told that its lease was renewed while it was
//! not, as after a pause that it did not notice. Such a leader goes on with its old term.

mod config_maps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use millstream_clock::task;
use millstream_control::{Placement, StreamSpec, Version, WantedStream};
use millstream_operator::lease::election::{Record, Versioned};
use millstream_operator::lease::{LeaseError, LeaseStore};
use millstream_storage::testkit::dice::Dice;
use millstream_types::{Scope, StreamName, StreamUid};
use parking_lot::Mutex;

use crate::history::History;
use crate::layout;

pub(crate) use config_maps::ConfigMaps;

/// How long a call takes, in milliseconds.
const CALL_MS_MAX: u64 = 20;
/// How long a call waits for an answer that does not come.
const CALL_TIMEOUT: Duration = Duration::from_millis(900);

/// The API server. Clones share it.
#[derive(Clone)]
pub(crate) struct ApiServer {
    objects: Arc<Mutex<Objects>>,
    /// Hears of every stream that is to be deleted, before anybody else.
    history: History,
}

#[derive(Default)]
struct Objects {
    revision: u64,
    lease: Option<Versioned>,
    /// The placements as they are stored, by name.
    config_maps: BTreeMap<String, ConfigMap>,
    streams: BTreeMap<StreamUid, WantedStream>,
    streams_revision: u64,
    cut_off: BTreeSet<String>,
    deluded: BTreeSet<String>,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// No answer.
    Unavailable,
    /// The object has changed since it was read, or has that name already.
    Conflict,
    /// No such object.
    NotFound,
}

impl ApiServer {
    pub(crate) fn new(history: History) -> Self {
        Self {
            objects: Arc::default(),
            history,
        }
    }

    /// Whether calls of this replica get through.
    pub(crate) fn set_cut_off(&self, replica: &str, cut_off: bool) {
        set(&mut self.objects.lock().cut_off, replica, cut_off);
    }

    /// Whether this replica believes that it renews its lease, and sees nothing new.
    pub(crate) fn set_deluded(&self, replica: &str, deluded: bool) {
        set(&mut self.objects.lock().deluded, replica, deluded);
    }

    /// Who holds the lease now.
    pub(crate) fn leader(&self) -> Option<String> {
        let objects = self.objects.lock();
        objects
            .lease
            .as_ref()
            .map(|lease| lease.record.holder.clone())
    }

    /// Streams that the stored placements give a home.
    pub(crate) fn homes(&self) -> BTreeSet<StreamUid> {
        let objects = self.objects.lock();
        let stored = objects.config_maps.values();
        let texts = stored.filter_map(|stored| stored.data.as_ref()?.values().next());
        texts
            .flat_map(|text| {
                let placement = Placement::from_json(text).expect("it was written as one");
                placement.homes.into_keys()
            })
            .collect()
    }

    /// Streams that exist, and whether each is to be deleted.
    pub(crate) fn streams(&self) -> Vec<(StreamUid, bool)> {
        let objects = self.objects.lock();
        let streams = objects.streams.values();
        streams.map(|s| (s.uid, s.delete)).collect()
    }
}

fn set(names: &mut BTreeSet<String>, name: &str, is_in: bool) {
    if is_in {
        names.insert(name.to_owned());
    } else {
        names.remove(name);
    }
}

/// The API server as one life of a replica of the operator reaches it.
pub(crate) struct Client {
    server: ApiServer,
    replica: String,
    dice: Dice,
}

/// What a stream's object calls it.
fn name_of(stream: &WantedStream) -> Option<&StreamName> {
    stream.spec.as_ref().map(|spec| &spec.name)
}

impl Client {
    pub(crate) fn new(server: ApiServer, replica: &str, seed: u64) -> Self {
        Self {
            server,
            replica: replica.to_owned(),
            dice: Dice::new(seed),
        }
    }

    /// Carries out a call, there and back.
    async fn call<T>(
        &self,
        call: impl FnOnce(&mut Objects) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.travel().await?;
        let result = {
            let mut objects = self.server.objects.lock();
            call(&mut objects)
        };
        self.travel().await?;
        result
    }

    async fn travel(&self) -> Result<(), CallError> {
        if self.is_lost() {
            task::sleep(CALL_TIMEOUT).await;
            return Err(CallError::Unavailable);
        }
        task::sleep(Duration::from_millis(self.dice.between(1, CALL_MS_MAX))).await;
        Ok(())
    }

    /// Whether calls of this replica do not get through.
    fn is_lost(&self) -> bool {
        let objects = self.server.objects.lock();
        let sets = [&objects.cut_off, &objects.deluded];
        sets.iter().any(|set| set.contains(&self.replica))
    }

    fn is_deluded(&self) -> bool {
        self.server.objects.lock().deluded.contains(&self.replica)
    }

    /// All streams, and the revision of the last change of any.
    pub(crate) async fn list_streams(&self) -> Result<(Vec<WantedStream>, u64), CallError> {
        self.call(|objects| {
            let streams = objects.streams.values().cloned().collect();
            Ok((streams, objects.streams_revision))
        })
        .await
    }

    /// Makes the object of a stream.
    pub(crate) async fn create_stream(
        &self,
        uid: StreamUid,
        scope: &Scope,
        spec: StreamSpec,
    ) -> Result<(), CallError> {
        let scope = scope.clone();
        self.call(move |objects| {
            let taken = |s: &WantedStream| s.scope == scope && name_of(s) == Some(&spec.name);
            if objects.streams.values().any(taken) {
                return Err(CallError::Conflict);
            }
            let stream = WantedStream {
                uid,
                scope,
                pool: layout::pool(),
                spec: Some(spec),
                version: Version(1),
                delete: false,
            };
            objects.streams.insert(uid, stream);
            objects.touch();
            Ok(())
        })
        .await
    }

    /// Marks the object of a stream for deletion.
    pub(crate) async fn delete_stream(
        &self,
        scope: &Scope,
        name: &StreamName,
    ) -> Result<(), CallError> {
        self.call(|objects| {
            let is_it = |s: &&mut WantedStream| s.scope == *scope && name_of(s) == Some(name);
            let stream = objects.streams.values_mut().find(is_it);
            let stream = stream.ok_or(CallError::NotFound)?;
            if stream.delete {
                return Err(CallError::NotFound);
            }
            stream.delete = true;
            stream.version.0 += 1;
            self.server.history.deletes(stream.uid);
            objects.touch();
            Ok(())
        })
        .await
    }

    /// Lets go of an object whose stream is gone: its finalizer is removed.
    pub(crate) async fn finalize_stream(&self, uid: StreamUid) -> Result<(), CallError> {
        self.call(|objects| {
            objects.streams.remove(&uid);
            objects.touch();
            Ok(())
        })
        .await
    }
}

impl Objects {
    fn touch(&mut self) {
        self.revision += 1;
        self.streams_revision = self.revision;
    }

    fn write_lease(&mut self, record: &Record) -> Versioned {
        self.revision += 1;
        let written = Versioned {
            record: record.clone(),
            version: self.revision.to_string(),
        };
        self.lease = Some(written.clone());
        written
    }
}

impl From<CallError> for LeaseError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Conflict => Self::Conflict,
            CallError::Unavailable | CallError::NotFound => Self::Unavailable(format!("{error:?}")),
        }
    }
}

/// The lease as seen by one replica; a deluded one sees what it believes.
pub(crate) struct SimLease {
    client: Arc<Client>,
    believed: Mutex<Option<Versioned>>,
}

impl SimLease {
    pub(crate) const fn new(client: Arc<Client>) -> Self {
        Self {
            client,
            believed: Mutex::new(None),
        }
    }

    fn believe(&self, versioned: &Versioned) {
        *self.believed.lock() = Some(versioned.clone());
    }
}

impl LeaseStore for SimLease {
    async fn read(&self) -> Result<Option<Versioned>, LeaseError> {
        if self.client.is_deluded() {
            return Ok(self.believed.lock().clone());
        }
        Ok(self
            .client
            .call(|objects| Ok(objects.lease.clone()))
            .await?)
    }

    async fn create(&self, record: &Record) -> Result<Versioned, LeaseError> {
        let record = record.clone();
        let create = move |objects: &mut Objects| match &objects.lease {
            Some(_) => Err(CallError::Conflict),
            None => Ok(objects.write_lease(&record)),
        };
        let written = self.client.call(create).await?;
        self.believe(&written);
        Ok(written)
    }

    async fn replace(&self, record: &Record, version: &str) -> Result<Versioned, LeaseError> {
        if self.client.is_deluded() {
            let renewed = Versioned {
                record: record.clone(),
                version: version.to_owned(),
            };
            self.believe(&renewed);
            return Ok(renewed);
        }
        let (record, version) = (record.clone(), version.to_owned());
        let replace = move |objects: &mut Objects| match &objects.lease {
            Some(lease) if lease.version == version => Ok(objects.write_lease(&record)),
            Some(_) | None => Err(CallError::Conflict),
        };
        let written = self.client.call(replace).await?;
        self.believe(&written);
        Ok(written)
    }
}
