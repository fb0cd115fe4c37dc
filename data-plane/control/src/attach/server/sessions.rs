//! One session for each server: a later one ends the earlier, and one whose report was refused is
//! not followed by the next at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_link::Identity;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tonic::Status;

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Counts sessions.
    opened: u64,
    open: BTreeMap<Identity, Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    /// Without it the session ends.
    _keep: oneshot::Sender<()>,
    /// No further session may take its place.
    is_barred: bool,
}

/// One that is open, until it is dropped or a later one takes its place.
#[derive(Debug)]
pub(super) struct Open {
    sessions: Arc<Sessions>,
    server: Identity,
    pub(super) id: u64,
    replaced: oneshot::Receiver<()>,
}

impl Sessions {
    /// Opens a session in the place of the server's former one.
    pub(super) fn open(self: &Arc<Self>, server: &Identity) -> Result<Open, Status> {
        let mut table = self.0.lock();
        if table.open.get(server).is_some_and(|entry| entry.is_barred) {
            return Err(Status::resource_exhausted(
                "this server's last report was refused, attach again later",
            ));
        }
        table.opened += 1;
        let id = table.opened;
        let (keep, replaced) = oneshot::channel();
        let entry = Entry {
            id,
            _keep: keep,
            is_barred: false,
        };
        table.open.insert(server.clone(), entry);
        Ok(Open {
            sessions: Arc::clone(self),
            server: server.clone(),
            id,
            replaced,
        })
    }
}

impl Open {
    /// Waits until a later session has taken its place.
    pub(super) async fn replaced(&mut self) {
        // nobody sends
        drop((&mut self.replaced).await);
    }

    /// While this is held, the server cannot attach again. Not if it has done so already.
    pub(super) fn bar(&self) {
        let mut table = self.sessions.0.lock();
        let entry = table.open.get_mut(&self.server);
        if let Some(entry) = entry.filter(|entry| entry.id == self.id) {
            entry.is_barred = true;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut table = self.sessions.0.lock();
        let entry = table.open.get(&self.server);
        if entry.is_some_and(|entry| entry.id == self.id) {
            table.open.remove(&self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use millstream_link::Role;
    use tonic::Code;

    use super::*;

    fn server(name: &str) -> Identity {
        Identity::new("team-a", Role::Shard, name).expect("an identity")
    }

    fn is_replaced(open: &mut Open) -> bool {
        open.replaced().now_or_never().is_some()
    }

    #[test]
    fn a_later_session_of_the_same_server_ends_the_earlier() {
        let sessions = Arc::new(Sessions::default());
        let mut first = sessions.open(&server("shard-0")).expect("a session");
        let mut other = sessions.open(&server("shard-1")).expect("a session");
        assert!(!is_replaced(&mut first));
        let mut second = sessions.open(&server("shard-0")).expect("a session");
        assert!(second.id > first.id);
        assert!(is_replaced(&mut first) && !is_replaced(&mut other));
        drop(first);
        assert!(!is_replaced(&mut second));
    }

    #[test]
    fn a_server_whose_report_was_refused_waits() {
        let sessions = Arc::new(Sessions::default());
        let refused = sessions.open(&server("shard-0")).expect("a session");
        refused.bar();
        let again = sessions.open(&server("shard-0"));
        assert_eq!(
            again.expect_err("it is barred").code(),
            Code::ResourceExhausted
        );
        sessions.open(&server("shard-1")).expect("another server");
        drop(refused);
        sessions.open(&server("shard-0")).expect("a session");
    }
}
