//! The directories of the simulated disk: what readers see, and what a power loss leaves.
//!
//! Every directory keeps its own row of unsynced edits, and a power loss keeps a prefix of it,
//! whatever the other directories keep: a rename across two directories can end under both names
//! or under none.

use std::collections::BTreeMap;

use crate::disk::sim::content::Loss;
use crate::testkit::Dice;

/// Names one file or directory for good.
pub(super) type Inode = u64;

/// The root directory.
pub(super) const ROOT: Inode = 0;

/// Names that are set or removed together.
type Edit = Vec<(String, Option<Inode>)>;

/// One directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    cached: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
    /// Edits since the last sync, in order.
    unsynced: Vec<Edit>,
}

impl Directory {
    pub(super) fn get(&self, name: &str) -> Option<Inode> {
        self.cached.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&String, Inode)> {
        self.cached.iter().map(|(name, inode)| (name, *inode))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cached.is_empty()
    }

    /// Sets and removes names, all at once as far as this directory goes.
    pub(super) fn edit(&mut self, edit: Edit) {
        apply(&mut self.cached, &edit);
        self.unsynced.push(edit);
    }

    /// A sync that works.
    pub(super) fn sync(&mut self) {
        self.keep(self.unsynced.len());
    }

    /// A sync that fails: a prefix arrives. The rest stays unsynced: a file system that cannot
    /// write its directories never calls them clean, as it does with the pages of files.
    pub(super) fn fail_sync(&mut self, dice: &Dice) {
        let rest = self.unsynced.split_off(dice.index(self.unsynced.len() + 1));
        self.sync();
        self.unsynced = rest;
    }

    /// What is left after the power was gone.
    pub(super) fn lose_power(&mut self, loss: Loss, dice: &Dice) {
        let all = self.unsynced.len();
        let kept = match loss {
            Loss::All => 0,
            Loss::WholeFiles => all * usize::from(dice.chance(1, 2)),
            Loss::Sectors => dice.index(all + 1),
        };
        self.keep(kept);
        self.cached = self.durable.clone();
    }

    /// Makes the first `kept` unsynced edits durable and forgets the others.
    fn keep(&mut self, kept: usize) {
        for edit in std::mem::take(&mut self.unsynced).iter().take(kept) {
            apply(&mut self.durable, edit);
        }
    }

    /// Everything that this directory could still show, now or after a crash.
    pub(super) fn refers_to(&self) -> impl Iterator<Item = Inode> {
        let unsynced = self
            .unsynced
            .iter()
            .flatten()
            .filter_map(|(_, inode)| *inode);
        let named = self.cached.values().chain(self.durable.values()).copied();
        named.chain(unsynced)
    }
}

fn apply(names: &mut BTreeMap<String, Inode>, edit: &Edit) {
    for (name, inode) in edit {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}
