//! Placements in ConfigMaps: one for each pool, written before anybody hears of it.
//!
//! Each write names the version of the object that was last read or written, so that a leader that
//! was replaced finds its write refused.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use millstream_control::placement::PlacementError;
use millstream_control::{Placement, PlacementVersion, PoolId};

use crate::apply::{code, patiently};
use crate::failure::Failure;
use crate::names::{LABEL_PLACEMENT, PoolKey};

/// The key of the placement in the ConfigMap.
const DATA: &str = "placement.json";

/// The ConfigMaps, and the version of each.
pub struct Placements {
    client: Client,
    instance: String,
    versions: BTreeMap<PoolId, String>,
}

/// Why a placement was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another leader wrote this one.
    #[error("another leader has written placement {0}")]
    Deposed(PlacementVersion),
    /// It does not fit.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The API server did not do it.
    #[error("{0}")]
    Api(#[from] kube::Error),
}

impl Placements {
    /// Reads every placement in the namespaces.
    ///
    /// # Errors
    /// When one cannot be read: without it streams would be placed anew.
    pub async fn read(
        client: Client,
        instance: &str,
        namespaces: Option<&[&str]>,
    ) -> Result<(Self, Vec<Placement>), Failure> {
        let mut versions = BTreeMap::new();
        let mut found = Vec::new();
        let selected = ListParams::default().labels(&format!("{LABEL_PLACEMENT}=true"));
        for api in crate::watched::apis::<ConfigMap>(&client, namespaces) {
            let listed = patiently("listing placements", || api.list(&selected)).await;
            let listed = listed.map_err(|error| Failure::api("listing placements", &error))?;
            for object in listed {
                let placement = parse(&object)?;
                let version = object.metadata.resource_version.unwrap_or_default();
                versions.insert(placement.pool.clone(), version);
                found.push(placement);
            }
        }
        let placements = Self {
            client,
            instance: instance.to_owned(),
            versions,
        };
        Ok((placements, found))
    }

    /// Writes over the former placement of the pool.
    ///
    /// # Errors
    /// When it is not the one that was last read or written, or the API server refuses.
    pub async fn write(&mut self, placement: &Placement) -> Result<(), WriteError> {
        let pool = &placement.pool;
        let key = PoolKey::new(pool.namespace(), pool.name());
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), pool.namespace());
        let known = self.versions.get(pool).cloned();
        let object = self.object(&key, placement, known.clone())?;
        let options = PostParams::default();
        let written = match known {
            Some(_) => api.replace(&key.placement_name(), &options, &object).await,
            None => api.create(&options, &object).await,
        };
        match written {
            Ok(written) => {
                let version = written.metadata.resource_version.unwrap_or_default();
                self.versions.insert(pool.clone(), version);
                Ok(())
            },
            Err(error) => self.refused(&api, &key, placement, error).await,
        }
    }

    /// Forgets a pool whose placement was deleted.
    pub fn forget(&mut self, pool: &PoolId) {
        self.versions.remove(pool);
    }

    /// What is there instead? Ours, if the answer to an earlier write was lost; or another's.
    async fn refused(
        &mut self,
        api: &Api<ConfigMap>,
        key: &PoolKey,
        placement: &Placement,
        error: kube::Error,
    ) -> Result<(), WriteError> {
        if !matches!(code(&error), Some(409 | 404)) {
            return Err(error.into());
        }
        let Some(object) = api.get_opt(&key.placement_name()).await? else {
            self.versions.remove(&placement.pool);
            return Err(error.into());
        };
        let there = parse(&object).map(|there| there.version);
        if let Ok(there) = there
            && (there.term > placement.version.term || there > placement.version)
        {
            return Err(WriteError::Deposed(there));
        }
        let version = object.metadata.resource_version.unwrap_or_default();
        self.versions.insert(placement.pool.clone(), version);
        Err(error.into())
    }

    fn object(
        &self,
        key: &PoolKey,
        placement: &Placement,
        version: Option<String>,
    ) -> Result<ConfigMap, PlacementError> {
        let mut labels = key.labels(&self.instance);
        labels.insert(LABEL_PLACEMENT.to_owned(), "true".to_owned());
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: Some(key.placement_name()),
                namespace: Some(key.namespace.clone()),
                labels: Some(labels),
                resource_version: version,
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(DATA.to_owned(), placement.to_json()?)])),
            ..ConfigMap::default()
        })
    }
}

fn parse(object: &ConfigMap) -> Result<Placement, Failure> {
    let kept = |problem: String| Failure::Kept {
        object: format!(
            "ConfigMap {}/{}",
            object.metadata.namespace.as_deref().unwrap_or_default(),
            object.metadata.name.as_deref().unwrap_or_default()
        ),
        problem,
    };
    let text = object.data.as_ref().and_then(|data| data.get(DATA));
    let Some(text) = text else {
        return Err(kept(format!("data.{DATA} is missing; restore the object")));
    };
    Placement::from_json(text).map_err(|error| kept(format!("{error}; restore the object")))
}
