//! What there is of a pool just before it is deleted, asked of the API server itself: what is
//! watched, and the plan made of it, are of a moment ago.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Preconditions};
use kube::{Api, Client};
use millstream_crds::data_stream::DataStreamResource;

use super::retire::{self, Verdict};
use super::view;
use crate::contract::placements;
use crate::names::PoolKey;

/// A pool as it is now.
#[derive(Debug)]
pub struct LastLook {
    /// Its set. None, if there is none.
    set: Option<StatefulSet>,
    /// Its placement. None, if there is none.
    placement: Option<ConfigMap>,
    /// How many objects name it.
    streams: usize,
}

/// What may be deleted: these objects, for as long as nobody changes them.
#[derive(Debug)]
pub struct Deletable {
    /// The set.
    pub set: Preconditions,
    /// The placement, if there is one.
    pub placement: Option<Preconditions>,
}

/// Why a pool stays after all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// The wish was taken back, or the pool is paused or gone.
    #[error("nobody asks for its end any more")]
    NotAsked,
    /// What is watched will say the same in a moment.
    #[error("it is not empty")]
    InUse,
    /// Its placement is not what was read when this leader began.
    #[error("its placement cannot be used ({0}), and without it nobody knows what it holds")]
    Unreadable(String),
}

impl LastLook {
    /// Looks at the pool.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn at(client: &Client, key: &PoolKey) -> Result<Self, kube::Error> {
        let namespace = &key.namespace;
        let streams: Api<DataStreamResource> = Api::namespaced(client.clone(), namespace);
        let streams = streams.list(&ListParams::default()).await?;
        let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        Ok(Self {
            set: sets.get_opt(&key.object_name()).await?,
            placement: maps.get_opt(&key.placement_name()).await?,
            streams: streams.iter().filter(|o| o.spec.pool == key.pool).count(),
        })
    }

    /// What of the pool is to be deleted now.
    ///
    /// # Errors
    /// Why it stays. A placement that cannot be read may hold streams.
    pub fn deletable(&self) -> Result<Deletable, Stays> {
        let set = self.set.as_ref().filter(|set| !view::is_paused(set));
        let set = set.ok_or(Stays::NotAsked)?;
        let homes = self.placement.as_ref().map_or(Ok(0), homes)?;
        let annotations = set.metadata.annotations.as_ref();
        match retire::verdict(annotations, self.streams, homes) {
            Verdict::Keep => Err(Stays::NotAsked),
            Verdict::StreamsInTheWay(_) | Verdict::RecordsInTheWay(_) => Err(Stays::InUse),
            Verdict::Delete => Ok(Deletable {
                set: as_it_is(&set.metadata),
                placement: self.placement.as_ref().map(|map| as_it_is(&map.metadata)),
            }),
        }
    }
}

/// How many streams a placement holds.
fn homes(map: &ConfigMap) -> Result<usize, Stays> {
    let placement = placements::written(map).map_err(Stays::Unreadable)?;
    Ok(placement.homes.len())
}

fn as_it_is(metadata: &ObjectMeta) -> Preconditions {
    Preconditions {
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use millstream_control::{Placement, PoolId};
    use serde_json::{Value, json};

    use super::*;

    fn look(streams: usize, annotations: &Value, placement: Option<&str>) -> LastLook {
        let set =
            json!({"metadata": {"uid": "s", "resourceVersion": "7", "annotations": annotations}});
        let map = |text: &str| {
            let map = json!({
                "metadata": {"uid": "m", "resourceVersion": "8"},
                "data": {"placement.json": text},
            });
            serde_json::from_value(map).expect("a ConfigMap")
        };
        LastLook {
            set: serde_json::from_value(set).ok(),
            placement: placement.map(map),
            streams,
        }
    }

    #[test]
    fn a_pool_goes_as_it_was_seen_and_only_with_nothing_in_it() {
        let asked = json!({"millstream.dev/delete-pool": "true"});
        let paused = json!({
            "millstream.dev/delete-pool": "true", "millstream.dev/pause": "true",
        });
        let pool = PoolId::new("team", "default").expect("a pool");
        let empty = Placement::empty(pool).to_json().expect("small");
        let mut full: Value = serde_json::from_str(&empty).expect("JSON");
        full["groups"] = json!({"0": {"pod": "p-0", "address": "p-0.s:4569"}});
        full["homes"] = json!({"00000000000000000000000000000001": {
            "group": 0, "name": "s", "scope": {"account": "000000000001", "region": "eu-west-1"},
        }});
        let full = full.to_string();
        assert!(Placement::from_json(&full).is_ok());

        let goes = look(0, &asked, Some(&empty)).deletable().expect("it goes");
        assert_eq!(goes.set.resource_version.as_deref(), Some("7"));
        let placement = goes.placement.expect("there");
        assert_eq!(placement.resource_version.as_deref(), Some("8"));
        assert!(look(0, &asked, None).deletable().is_ok());
        let without_set = LastLook {
            set: None,
            ..look(0, &asked, None)
        };
        for (stays, why) in [
            (look(1, &asked, Some(&empty)), Stays::InUse),
            (look(0, &asked, Some(&full)), Stays::InUse),
            (look(0, &paused, None), Stays::NotAsked),
            (look(0, &json!({}), None), Stays::NotAsked),
            (without_set, Stays::NotAsked),
        ] {
            assert_eq!(stays.deletable().err(), Some(why), "{stays:?}");
        }
        let broken = look(0, &asked, Some("{")).deletable();
        assert!(matches!(broken, Err(Stays::Unreadable(_))), "{broken:?}");
    }
}
