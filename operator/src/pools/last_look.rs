//! What there is of a pool just before it is deleted, asked of the API server itself: what is
//! watched, and the plan made of it, are of a moment ago.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Preconditions};
use kube::{Api, Client};
use millstream_control::Placement;
use millstream_crds::data_stream::DataStreamResource;

use super::retire::{self, Verdict};
use super::view;
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

    /// What of the pool is to be deleted now; none if it stays after all. A placement that cannot be
    /// read may hold streams.
    #[must_use]
    pub fn deletable(&self) -> Option<Deletable> {
        let set = self.set.as_ref().filter(|set| !view::is_paused(set))?;
        let homes = self.placement.as_ref().map_or(Some(0), homes)?;
        let annotations = set.metadata.annotations.as_ref();
        let verdict = retire::verdict(annotations, self.streams, homes);
        (verdict == Verdict::Delete).then(|| Deletable {
            set: as_it_is(&set.metadata),
            placement: self.placement.as_ref().map(|map| as_it_is(&map.metadata)),
        })
    }
}

/// How many streams a placement holds; none if it cannot be read.
fn homes(map: &ConfigMap) -> Option<usize> {
    let texts = map.data.iter().flat_map(|data| data.values());
    let count = |placement: Placement| placement.homes.len();
    texts
        .map(|text| Placement::from_json(text).ok().map(count))
        .sum()
}

fn as_it_is(metadata: &ObjectMeta) -> Preconditions {
    Preconditions {
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use millstream_control::PoolId;
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
        assert!(look(0, &asked, None).deletable().is_some());
        for stays in [
            look(1, &asked, Some(&empty)),
            look(0, &asked, Some(&full)),
            look(0, &asked, Some("{")),
            look(0, &paused, None),
            look(0, &json!({}), None),
            LastLook {
                set: None,
                ..look(0, &asked, None)
            },
        ] {
            assert!(stays.deletable().is_none(), "{stays:?}");
        }
    }
}
