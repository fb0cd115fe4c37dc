//! Two ways to one process: the address where it was last, and the name that always leads to it.
//!
//! A pod's IP address is known at once and may be old; its name is right in the end and slow, since
//! DNS is cached. [`DirectFirst`] tries the first and does not wait for it for long, and again where
//! it was refused and the name is silent: a pod that starts does not listen yet. Whoever answers has
//! to be who is expected, so a wrong address costs a moment and nothing else.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt as _, select};
use millstream_clock::task;
use tokio::sync::oneshot;

use crate::transport::{ConnectError, Connection, Connector};
use crate::{Address, Endpoint};

/// How long the direct way is tried alone.
pub const HEAD_START: Duration = Duration::from_millis(250);

/// Opens connections of another connector by the direct way, or else by name: whichever of the two
/// leads to who is expected first.
#[derive(Clone)]
pub struct DirectFirst(Arc<dyn Connector>);

impl fmt::Debug for DirectFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectFirst")
    }
}

impl DirectFirst {
    /// Over a connector that refuses everybody but who is expected.
    #[must_use]
    pub fn new(inner: Arc<dyn Connector>) -> Self {
        Self(inner)
    }

    async fn race(&self, direct: &Endpoint, named: &Endpoint) -> Result<Connection, ConnectError> {
        let (hurry, hurried) = oneshot::channel::<()>();
        let mut hurry = Some(hurry);
        let mut second = pin!(async {
            drop(task::timeout(HEAD_START, hurried).await);
            self.0.connect(named).await
        });
        loop {
            match select(self.0.connect(direct), second.as_mut()).await {
                Either::Left((Ok(io), _)) | Either::Right((Ok(io), _)) => return Ok(io),
                Either::Left((Err(error), _)) => {
                    tracing::debug!(to = %direct, %error, "not there any more; trying its name");
                    // Refused at once, as a rule: what is left of the head start is not waited for.
                    drop(hurry.take());
                },
                Either::Right((Err(error), first)) => return first.await.map_err(|_| error),
            }
            // A pod that starts refuses until it listens, while its name may still lead to the
            // silence where it was before: so both ways are tried until one of them ends.
            match select(task::sleep(HEAD_START).boxed(), second.as_mut()).await {
                Either::Left(_) => {},
                Either::Right((ended, _)) => return ended,
            }
        }
    }
}

impl Connector for DirectFirst {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            let at = |address: &Address| Endpoint::new(address.clone(), to.expected.clone());
            let named = at(&to.address);
            match &to.direct {
                Some(direct) => self.race(&at(direct), &named).await,
                None => self.0.connect(&named).await,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use parking_lot::Mutex;

    use super::*;
    use crate::{Identity, Role};

    /// What happens at an address.
    #[derive(Clone, Copy)]
    enum At {
        Answers,
        Refuses,
        IsSilent,
        /// Refuses the first time, as a pod does that starts.
        Starts,
    }

    /// Answers by address, and notes who was asked.
    struct Net {
        at: HashMap<&'static str, At>,
        asked: Mutex<Vec<String>>,
    }

    impl Connector for Net {
        fn connect<'a>(
            &'a self,
            to: &'a Endpoint,
        ) -> BoxFuture<'a, Result<Connection, ConnectError>> {
            async move {
                let address = to.address.to_string();
                let is_first = !self.asked.lock().contains(&address);
                self.asked.lock().push(address);
                match self.at[to.address.as_str()] {
                    At::Starts if !is_first => Ok(Connection::plain(tokio::io::duplex(1).0)),
                    At::Answers => Ok(Connection::plain(tokio::io::duplex(1).0)),
                    At::Refuses | At::Starts => Err(ConnectError::Untrusted {
                        to: to.address.clone(),
                        reason: "somebody else answers".to_owned(),
                    }),
                    At::IsSilent => std::future::pending().await,
                }
            }
            .boxed()
        }
    }

    /// Whether there is a connection within a minute, and who was asked for it.
    async fn asked(direct: At, name: At) -> (bool, Vec<String>) {
        let net = Arc::new(Net {
            at: HashMap::from([("10.0.0.7:4569", direct), ("pod-0.pods:4569", name)]),
            asked: Mutex::default(),
        });
        let shard = Identity::new("team", Role::Shard, "pod-0").expect("an identity");
        let address = "pod-0.pods:4569".parse().expect("an address");
        let to = Endpoint::of(address, shard).directly("10.0.0.7:4569".parse().ok());
        let connector = DirectFirst::new(Arc::clone(&net) as Arc<dyn Connector>);
        let opened = task::timeout(Duration::from_secs(60), connector.connect(&to)).await;
        let asked = net.asked.lock().clone();
        (opened.is_ok_and(|opened| opened.is_ok()), asked)
    }

    const DIRECT: &str = "10.0.0.7:4569";
    const NAME: &str = "pod-0.pods:4569";

    #[tokio::test(start_paused = true)]
    async fn the_name_is_not_asked_while_the_direct_way_leads_there() {
        let (is_open, asked) = asked(At::Answers, At::IsSilent).await;
        assert_eq!((is_open, asked), (true, vec![DIRECT.to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_direct_way_is_harmless() {
        for old in [At::Refuses, At::IsSilent] {
            let (is_open, asked) = asked(old, At::Answers).await;
            let both = vec![DIRECT.to_owned(), NAME.to_owned()];
            assert_eq!((is_open, asked), (true, both));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_not_known_yet_is_harmless_too() {
        let (is_open, _) = asked(At::Answers, At::Refuses).await;
        assert!(is_open);
        let (is_open, asked) = asked(At::Refuses, At::Refuses).await;
        assert!(!is_open);
        assert_eq!(asked.len(), 2, "each once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_starts_is_called_again_while_its_name_leads_into_silence() {
        let (is_open, asked) = asked(At::Starts, At::IsSilent).await;
        let each = [DIRECT, NAME, DIRECT].map(str::to_owned).to_vec();
        assert_eq!((is_open, asked), (true, each));
    }

    #[tokio::test]
    async fn without_a_direct_way_the_name_is_asked() {
        let net = Arc::new(Net {
            at: HashMap::from([(NAME, At::Answers)]),
            asked: Mutex::default(),
        });
        let shard = Identity::new("team", Role::Shard, "pod-0").expect("an identity");
        let to = Endpoint::of(NAME.parse().expect("an address"), shard);
        let connector = DirectFirst::new(Arc::clone(&net) as Arc<dyn Connector>);
        assert!(connector.connect(&to).await.is_ok());
    }
}
