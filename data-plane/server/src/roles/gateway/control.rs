//! CreateStream and DeleteStream of a client: the operator does them, and the client hears of it
//! when this gateway has seen it.

use std::time::Duration;

use millstream_clock::task;
use millstream_control::attach::RemoteControl;
use millstream_control::{ControlPlane, CreateStreamError, DeleteStreamError, StreamSpec};
use millstream_rpc::Routed;
use millstream_stream::{Status, Stream, Streams};
use millstream_types::{Scope, StreamName};

/// For how long the catalogue may take to show what the operator has accepted. The operator's word
/// counts: after that the client is told that it was accepted all the same.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// The operator's control plane, as seen through a catalogue.
pub struct WaitingControl {
    remote: RemoteControl,
    streams: Streams<Routed>,
}

impl WaitingControl {
    pub(super) const fn new(remote: RemoteControl, streams: Streams<Routed>) -> Self {
        Self { remote, streams }
    }

    /// Waits, within a limit, until the stream of this name is as `is` says.
    async fn until(&self, scope: &Scope, name: &StreamName, is: impl Fn(Option<&Stream>) -> bool) {
        let mut changes = self.streams.watch();
        let shown = async {
            loop {
                changes.next().await;
                if is(self.streams.get(scope, name).ok().as_deref()) {
                    return;
                }
            }
        };
        if task::timeout(SHOWN_WITHIN, shown).await.is_err() {
            tracing::warn!(stream = %name, "the catalogue does not show the change yet");
        }
    }
}

impl ControlPlane for WaitingControl {
    async fn create_stream(
        &self,
        scope: &Scope,
        spec: StreamSpec,
    ) -> Result<(), CreateStreamError> {
        let name = spec.name.clone();
        self.remote.create_stream(scope, spec).await?;
        self.until(scope, &name, |stream| stream.is_some()).await;
        Ok(())
    }

    async fn delete_stream(
        &self,
        scope: &Scope,
        name: &StreamName,
    ) -> Result<(), DeleteStreamError> {
        self.remote.delete_stream(scope, name).await?;
        let is_leaving = |stream: Option<&Stream>| {
            stream.is_none_or(|stream| stream.status() == Status::Deleting)
        };
        self.until(scope, name, is_leaving).await;
        Ok(())
    }
}
