//! Objects that are watched, in one or more namespaces, as local stores.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::apply::code;
use crate::pulse::Pulse;

/// The local copies of one kind. Clones share them.
#[derive(Debug)]
pub struct Watched<K: Resource<DynamicType = ()> + 'static> {
    stores: Vec<Store<K>>,
    /// Whether a watch was forbidden since somebody asked.
    forbidden: Arc<AtomicBool>,
}

impl<K: Resource<DynamicType = ()> + 'static> Clone for Watched<K> {
    fn clone(&self) -> Self {
        Self {
            stores: self.stores.clone(),
            forbidden: Arc::clone(&self.forbidden),
        }
    }
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Watches through each of `apis`; every change beats `pulse`. The watches end with `tasks`.
    #[must_use]
    pub fn start(
        apis: Vec<Api<K>>,
        config: &watcher::Config,
        pulse: &Pulse,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let mut stores = Vec::new();
        let forbidden = Arc::new(AtomicBool::new(false));
        for api in apis {
            let (reader, writer) = store::<K>();
            let events = reflector(writer, watcher(api, config.clone()));
            let (pulse, forbidden) = (pulse.clone(), Arc::clone(&forbidden));
            tasks.spawn(async move {
                let events = events.default_backoff();
                futures::pin_mut!(events);
                while let Some(event) = events.next().await {
                    match event {
                        // Not yet in the store: the end of the list is.
                        Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {},
                        Ok(_) => pulse.beat(),
                        Err(error) => {
                            if is_forbidden(&error) {
                                forbidden.store(true, Ordering::Relaxed);
                            }
                            tracing::warn!(kind = %K::kind(&()), %error, "a watch failed; it is repeated");
                        },
                    }
                }
            });
            stores.push(reader);
        }
        Self { stores, forbidden }
    }

    /// Copies that others keep.
    #[must_use]
    pub fn of(stores: Vec<Store<K>>) -> Self {
        Self {
            stores,
            forbidden: Arc::default(),
        }
    }

    /// Whether a watch was forbidden since this was asked last. Its copies may be out of date.
    #[must_use]
    pub fn take_forbidden(&self) -> bool {
        self.forbidden.swap(false, Ordering::Relaxed)
    }

    /// Waits until every store holds what the API server has.
    pub async fn ready(&self) {
        for store in &self.stores {
            // An error says that the watch has ended: the process is ending.
            drop(store.wait_until_ready().await);
        }
    }

    /// Every object.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.stores.iter().flat_map(Store::state).collect()
    }

    /// The object of this name, of a kind that lies in no namespace.
    #[must_use]
    pub fn get_cluster_wide(&self, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name);
        self.stores.iter().find_map(|store| store.get(&key))
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = ObjectRef::new(name).within(namespace);
        self.stores.iter().find_map(|store| store.get(&key))
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            code(error) == Some(403)
        },
        watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// An API for each of `namespaces`, or one for all of them.
#[must_use]
pub fn apis<K>(client: &Client, namespaces: Option<&[&str]>) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match namespaces {
        None => vec![Api::all(client.clone())],
        Some(names) => {
            let one = |name: &&str| Api::namespaced(client.clone(), name);
            names.iter().map(one).collect()
        },
    }
}
