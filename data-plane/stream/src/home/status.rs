//! What the home of a stream makes durable itself: each is one change of the stream's rows, of the
//! registry, and of nothing else.
//!
//! It runs in a task of its own, so that whoever goes away in between leaves no durable stream that
//! is not served, or the reverse.

use std::sync::Arc;

use millstream_clock::task;
use millstream_storage::ShardStore;
use millstream_types::{Scope, StreamUid};

use super::Spread;
use crate::error::{CreateError, DeleteError};
use crate::lifecycle::NewStream;
use crate::rows;
use crate::stream::{Status, Stream};
use crate::streams::Streams;

impl<S: ShardStore> Streams<S> {
    /// Begins to create the stream with this identity, which must never have been used. A
    /// [`Home`](super::Home) finishes it. The same call again is nothing.
    ///
    /// # Errors
    /// When another stream has its name, the specification is not allowed, or the store refuses.
    pub async fn begin_create(
        &self,
        uid: StreamUid,
        scope: &Scope,
        new: NewStream,
        spread: Spread,
    ) -> Result<(), CreateError> {
        Self::check_count(&new)?;
        new.settings.validate()?;
        let (streams, scope) = (self.clone(), scope.clone());
        let begun = task::spawn("begin-create", async move {
            let _alone = streams.inner.lifecycle.lock().await;
            if streams.inner.registry.read().by_uid(uid).is_some() {
                return Ok(());
            }
            streams.check_name(&scope, &new.name)?;
            let mut stream = streams.draft(&scope, new, |count| spread.places(count));
            stream.uid = uid;
            stream.status = Status::Creating;
            let changes = rows::create_changes(&stream);
            streams.inner.store.apply(changes).await?;
            tracing::info!(stream = %stream.name, %uid, "the stream is being created");
            streams.inner.put(Arc::new(stream));
            Ok(())
        });
        begun.await.unwrap_or(Err(CreateError::Internal))
    }

    /// Begins to remove a stream, whatever its state. A
    /// [`Home`](super::Home) finishes it. A stream that is not
    /// there is removed already.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn begin_delete(&self, uid: StreamUid) -> Result<(), DeleteError> {
        self.become_status(uid, Status::Deleting).await
    }

    /// Keeps an active stream with its records, and shows it to nobody; its name is free then.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn retain(&self, uid: StreamUid) -> Result<(), DeleteError> {
        match self.inner.registry.read().by_uid(uid).map(|s| s.status) {
            Some(Status::Active) => {},
            _ => return Ok(()),
        }
        self.become_status(uid, Status::Retained).await
    }

    /// Shows a stream again that was only kept. Other streams stay as they are.
    ///
    /// # Errors
    /// When another stream has its name by now, or the store refuses.
    pub async fn serve_again(&self, uid: StreamUid) -> Result<(), CreateError> {
        let Some(stream) = self.inner.registry.read().by_uid(uid) else {
            return Ok(());
        };
        if stream.status != Status::Retained {
            return Ok(());
        }
        self.check_name(&stream.scope, &stream.name)?;
        let served = self.become_status(uid, Status::Active).await;
        served.map_err(|error| match error {
            DeleteError::Throttled => CreateError::Throttled,
            DeleteError::NotFound(_) | DeleteError::Internal => CreateError::Internal,
        })
    }

    /// Makes a status durable; a stream that is being removed keeps its own.
    pub(super) async fn become_status(
        &self,
        uid: StreamUid,
        status: Status,
    ) -> Result<(), DeleteError> {
        let streams = self.clone();
        let become_it = task::spawn("stream-status", async move {
            let _alone = streams.inner.lifecycle.lock().await;
            let before = streams.inner.registry.read().by_uid(uid);
            let Some(before) = before.filter(|s| !matches!(s.status, Status::Deleting)) else {
                return Ok(());
            };
            let after = Stream {
                status,
                ..(*before).clone()
            };
            let change = rows::put_stream(&after);
            streams.inner.store.apply(vec![change]).await?;
            tracing::info!(stream = %after.name, %uid, %status, "the stream has a new status");
            streams.inner.put(Arc::new(after));
            Ok(())
        });
        become_it.await.unwrap_or(Err(DeleteError::Internal))
    }

    /// Removes the rows of a stream that is being removed, and the shards beside them.
    pub(super) async fn finish_delete(&self, uid: StreamUid) -> Result<(), DeleteError> {
        let streams = self.clone();
        let finished = task::spawn("finish-delete", async move {
            let _alone = streams.inner.lifecycle.lock().await;
            let Some(stream) = streams.inner.registry.read().by_uid(uid) else {
                return Ok(());
            };
            let changes = rows::delete_changes(&stream);
            streams.inner.store.apply(changes).await?;
            streams.note_removed(uid);
            streams.inner.remove(&stream);
            tracing::info!(stream = %stream.name, %uid, "the stream is removed");
            Ok(())
        });
        finished.await.unwrap_or(Err(DeleteError::Internal))
    }
}
