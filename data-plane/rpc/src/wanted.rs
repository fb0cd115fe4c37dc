//! Connections that are opened only as long as they are wanted: whoever waits for one to a server
//! that is known to be elsewhere by now waits no longer, and calls it there.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use millstream_link::{ConnectError, Connection, Connector, Endpoint};
use tokio::sync::watch;

/// Dropped when connections are wanted no more.
pub(crate) type Wanted = watch::Sender<()>;

/// Another connector while it is wanted.
pub(crate) struct WhileWanted {
    inner: Arc<dyn Connector>,
    wanted: watch::Receiver<()>,
}

impl WhileWanted {
    pub(crate) fn new(inner: Arc<dyn Connector>) -> (Self, Wanted) {
        let (sender, wanted) = watch::channel(());
        (Self { inner, wanted }, sender)
    }
}

impl Connector for WhileWanted {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        let mut wanted = self.wanted.clone();
        async move {
            tokio::select! {
                biased;
                // Nothing is ever sent: it is the end.
                _ = wanted.changed() => Err(ConnectError::Unreachable {
                    to: to.address.clone(),
                    reason: "its server is elsewhere by now".to_owned(),
                }),
                opened = self.inner.connect(to) => opened,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use millstream_link::{Identity, Role};

    use super::*;

    /// Nobody answers.
    struct Silent;

    impl Connector for Silent {
        fn connect<'a>(
            &'a self,
            _: &'a Endpoint,
        ) -> BoxFuture<'a, Result<Connection, ConnectError>> {
            std::future::pending().boxed()
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_a_server_that_has_moved_is_told() {
        let shard = Identity::new("team", Role::Shard, "pod-0").expect("an identity");
        let to = Endpoint::of("pod-0:4569".parse().expect("an address"), shard);
        let (connector, wanted) = WhileWanted::new(Arc::new(Silent));
        let mut first = connector.connect(&to);
        assert!((&mut first).now_or_never().is_none(), "it waits");
        drop(wanted);
        assert!(first.await.is_err());
        assert!(connector.connect(&to).await.is_err(), "nor does the next");
    }
}
