//! Shards that streams of other groups have here: made and removed as their home asks.
//!
//! A shard that its home had opened before is never made again: where it is not there any more, the
//! volume was lost or replaced, and an empty shard would hide it. A home asks again after every
//! doubt, so both calls do the same however often they come. A call that comes late, after the
//! stream was removed, must not make shards that nobody would remove: a removed stream is
//! remembered for a day.
//!
//! A home that was outlived may reach a group that its next life reaches, too. The highest
//! [`Decision`] of each home is remembered, and nothing is done for a lower one. In memory only:
//! when the group comes up anew, the newer life asks again, and is obeyed from then on.

use std::collections::BTreeMap;

use millstream_clock::task;
use millstream_storage::{Change, ShardStore};
use millstream_types::{Epoch, GroupId, Millis, ShardUid, StreamUid, caps};

use crate::error::{HostError, OpenError};
use crate::rows::guests_row::{self, GuestsRow};
use crate::streams::Streams;

/// How long a removed stream is remembered, in milliseconds: no call is under way for that long.
pub(crate) const REMEMBER_GONE_MS: u64 = 24 * 3_600_000;

/// Homes whose decisions are remembered. A pool has far fewer groups; a group that is named beyond
/// them is not a home of this pool, and is fenced by nobody.
const HOMES_MAX: usize = 1_024;

/// When a home decided what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The group that keeps the stream's rows.
    pub home: GroupId,
    /// Of two decisions the later one is greater.
    pub point: DecisionPoint,
}

/// How far a home was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecisionPoint {
    /// The life of the home's writer.
    pub epoch: Epoch,
    /// The changes of its streams in that life.
    pub changes: u64,
}

/// The highest decision of each home.
#[derive(Debug, Default)]
pub(crate) struct Decided(BTreeMap<GroupId, DecisionPoint>);

impl Decided {
    /// Whether a decision counts; it does from then on. One that says nothing of itself, of an
    /// earlier program, always does.
    fn take(&mut self, decision: Option<&Decision>) -> Result<(), HostError> {
        let Some(Decision { home, point }) = decision else {
            return Ok(());
        };
        match self.0.get(home) {
            Some(known) if point.epoch < known.epoch => return Err(HostError::Outlived),
            Some(known) if point < known => return Err(HostError::Late),
            None if self.0.len() >= HOMES_MAX => return Ok(()),
            Some(_) | None => {},
        }
        self.0.insert(home.clone(), *point);
        Ok(())
    }
}

/// The shards that a stream has in a group that is not its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guests {
    /// The stream.
    pub stream: StreamUid,
    /// The group that keeps the stream's rows.
    pub home: GroupId,
    /// When the stream was created.
    pub created: Millis,
    /// How long its records stay readable; none while the stream is retained: all are kept.
    pub retention_hours: Option<u32>,
    /// The shards.
    pub shards: Vec<ShardUid>,
}

impl Guests {
    pub(crate) fn retention_ms(&self) -> u64 {
        let hours = self.retention_hours.map(u64::from);
        hours.map_or(u64::MAX, |hours| hours * 3_600_000)
    }
}

/// Rows of guests in memory.
pub(crate) type Book = BTreeMap<StreamUid, GuestsRow>;

/// The book whose rows are in the store.
pub(crate) fn load<S: ShardStore>(store: &S) -> Result<Book, OpenError> {
    let mut book = Book::new();
    for (key, value) in store.rows(guests_row::PREFIX) {
        let corrupt = |reason| OpenError::Corrupt {
            key: String::from_utf8_lossy(&key).into_owned(),
            reason,
        };
        let row = guests_row::decode(&value).map_err(|error| error.at(&key))?;
        if guests_row::key(row.stream()) != key {
            return Err(corrupt("its key is of another stream"));
        }
        if let GuestsRow::Held(guests) = &row {
            let is_lost = |shard: &ShardUid| store.status_now(*shard).is_none();
            if guests.shards.iter().any(is_lost) {
                return Err(corrupt("a shard of the stream has no log"));
            }
        }
        book.insert(row.stream(), row);
    }
    Ok(book)
}

impl<S: ShardStore> Streams<S> {
    /// Opens the shards of `guests` that are not there, and keeps all of them for its retention.
    /// Those that were opened before are not made again: answers which of them are lost.
    ///
    /// # Errors
    /// When a later decision of the home is known, the stream was removed already, or the store
    /// refuses.
    pub async fn host(
        &self,
        guests: Guests,
        opened_before: Vec<ShardUid>,
        decision: Option<Decision>,
    ) -> Result<Vec<ShardUid>, HostError> {
        let streams = self.clone();
        let hosted = task::spawn("host-shards", async move {
            let _alone = streams.inner.lifecycle.lock().await;
            streams.inner.decided.lock().take(decision.as_ref())?;
            streams.host_alone(guests, opened_before).await
        });
        hosted.await.unwrap_or(Err(HostError::Internal))
    }

    async fn host_alone(
        &self,
        mut guests: Guests,
        opened_before: Vec<ShardUid>,
    ) -> Result<Vec<ShardUid>, HostError> {
        let before = self.inner.guests.read().get(&guests.stream).cloned();
        let shortest = Some(caps::RETENTION_HOURS_MIN);
        let mut keep_before = shortest;
        let mut here: Vec<ShardUid> = Vec::new();
        match &before {
            // An active stream is never removed here: what it had went by mistake.
            Some(GuestsRow::Gone { .. }) if !opened_before.is_empty() => return Ok(opened_before),
            Some(GuestsRow::Gone { .. }) => return Err(HostError::Gone),
            Some(GuestsRow::Held(held)) => {
                keep_before = held.retention_hours;
                here.clone_from(&held.shards);
            },
            None => {},
        }
        let mut lost = opened_before;
        lost.retain(|shard| !here.contains(shard));
        guests.shards.retain(|shard| !lost.contains(shard));
        if guests.shards.is_empty() && before.is_none() {
            return Ok(lost);
        }
        let mut changes = Vec::new();
        for shard in &guests.shards {
            if !here.contains(shard) {
                changes.push(Change::OpenShard(*shard));
                if guests.retention_hours != shortest {
                    changes.push(keep(*shard, &guests));
                }
            }
        }
        if keep_before != guests.retention_hours {
            changes.extend(here.iter().map(|shard| keep(*shard, &guests)));
        }
        here.extend(
            guests
                .shards
                .iter()
                .filter(|s| !here.contains(s))
                .copied()
                .collect::<Vec<_>>(),
        );
        guests.shards = here;
        let (stream, after) = (guests.stream, GuestsRow::Held(guests));
        if before.as_ref() == Some(&after) {
            return Ok(lost);
        }
        changes.push(put(&after));
        self.inner.store.apply(changes).await?;
        self.inner.guests.write().insert(stream, after);
        tracing::info!(uid = %stream, "shards of a stream of another group are kept here");
        Ok(lost)
    }

    /// Removes every shard that the stream has here, with its records.
    ///
    /// # Errors
    /// When a later decision of the home is known, or the store refuses.
    pub async fn evict(
        &self,
        stream: StreamUid,
        decision: Option<Decision>,
    ) -> Result<(), HostError> {
        let streams = self.clone();
        let evicted = task::spawn("evict-shards", async move {
            let _alone = streams.inner.lifecycle.lock().await;
            streams.inner.decided.lock().take(decision.as_ref())?;
            streams.evict_alone(stream).await
        });
        evicted.await.unwrap_or(Err(HostError::Internal))
    }

    async fn evict_alone(&self, stream: StreamUid) -> Result<(), HostError> {
        let shards = match self.inner.guests.read().get(&stream) {
            Some(GuestsRow::Gone { .. }) => return Ok(()),
            Some(GuestsRow::Held(guests)) => guests.shards.clone(),
            None => Vec::new(),
        };
        let gone = GuestsRow::Gone {
            stream,
            since: self.inner.clock.now(),
        };
        let mut changes: Vec<Change> = shards.into_iter().map(Change::DropShard).collect();
        changes.push(put(&gone));
        self.inner.store.apply(changes).await?;
        self.inner.guests.write().insert(stream, gone);
        tracing::info!(uid = %stream, "shards of a stream of another group were removed here");
        Ok(())
    }

    /// The streams of other groups that have shards here.
    #[must_use]
    pub fn hosted(&self) -> Vec<Guests> {
        let book = self.inner.guests.read();
        let held = book.values().filter_map(|row| match row {
            GuestsRow::Held(guests) => Some(guests.clone()),
            GuestsRow::Gone { .. } => None,
        });
        held.collect()
    }

    /// Forgets streams that were removed more than a day before `now`.
    pub(crate) async fn forget_gone(&self, now: Millis) {
        let _alone = self.inner.lifecycle.lock().await;
        let is_old = |row: &GuestsRow| matches!(row, GuestsRow::Gone { since, .. } if now.since(*since) > REMEMBER_GONE_MS);
        let old: Vec<StreamUid> = {
            let book = self.inner.guests.read();
            let old = book.values().filter(|row| is_old(row));
            old.map(GuestsRow::stream).collect()
        };
        if old.is_empty() {
            return;
        }
        let delete = |uid: &StreamUid| Change::DeleteRow {
            key: guests_row::key(*uid),
        };
        match self
            .inner
            .store
            .apply(old.iter().map(delete).collect())
            .await
        {
            Ok(()) => {
                let mut book = self.inner.guests.write();
                for uid in old {
                    book.remove(&uid);
                }
            },
            Err(error) => {
                tracing::warn!(%error, "rows of removed streams stay; the next pass tries again");
            },
        }
    }
}

fn keep(shard: ShardUid, guests: &Guests) -> Change {
    Change::KeepShard {
        shard,
        keep_ms: guests.retention_ms(),
    }
}

fn put(row: &GuestsRow) -> Change {
    Change::PutRow {
        key: guests_row::key(row.stream()),
        value: guests_row::encode(row).into(),
    }
}
