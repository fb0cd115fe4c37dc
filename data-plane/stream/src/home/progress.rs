//! Which groups have done as the state of a stream asks, and in which of their lives.
//!
//! What a group did in one life does not count in the next: its volume may be another one. Plain
//! state, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use millstream_types::{Epoch, GroupId, StreamUid};

use crate::stream::{Status, Stream};

/// What was done so far. Nothing of it outlives the process: every step can be done twice.
#[derive(Default)]
pub(super) struct Progress {
    streams: BTreeMap<StreamUid, Stage>,
    /// The life in which each group did what it did.
    lives: BTreeMap<GroupId, Epoch>,
}

/// The groups that have done as a state of a stream asks.
struct Stage {
    state: (Status, u32),
    done: BTreeSet<GroupId>,
}

impl Progress {
    /// Forgets the streams that are no more.
    pub(super) fn keep_only(&mut self, there: &BTreeSet<StreamUid>) {
        self.streams.retain(|uid, _| there.contains(uid));
    }

    /// The groups that have done as the stream's present state asks.
    pub(super) fn of(&mut self, stream: &Stream) -> &mut BTreeSet<GroupId> {
        let state = (stream.status(), stream.settings().retention_hours);
        let fresh = || Stage {
            state,
            done: BTreeSet::new(),
        };
        let stage = self.streams.entry(stream.uid()).or_insert_with(fresh);
        let only_activated =
            stage.state == (Status::Creating, state.1) && state.0 == Status::Active;
        if only_activated {
            stage.state = state;
        } else if stage.state != state {
            *stage = fresh();
        }
        &mut stage.done
    }

    /// The groups that have done anything that still counts.
    pub(super) fn groups(&mut self) -> BTreeSet<GroupId> {
        let done = self.streams.values().flat_map(|stage| &stage.done);
        let groups: BTreeSet<GroupId> = done.cloned().collect();
        self.lives.retain(|group, _| groups.contains(group));
        groups
    }

    /// Whether the group's life is known.
    pub(super) fn knows(&self, group: &GroupId) -> bool {
        self.lives.contains_key(group)
    }

    /// Notes in which life a group is. What it did in another one is to be asked again: true.
    pub(super) fn note_life(&mut self, group: &GroupId, life: Epoch) -> bool {
        if self.lives.insert(group.clone(), life) == Some(life) {
            return false;
        }
        let mut any = false;
        for stage in self.streams.values_mut() {
            any |= stage.done.remove(group);
        }
        any
    }
}
