//! What a history told about one shard.

use std::collections::BTreeMap;

use super::Moment;

#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    /// Id of the record that is known to have each number.
    pub(super) by_number: BTreeMap<u64, u64>,
    /// Highest trim that was begun.
    pub(super) may_hide: u64,
    /// Trims that were acknowledged, in order.
    pub(super) trimmed: Vec<(Moment, u64)>,
    pub(super) sealed: Option<Moment>,
    pub(super) dropped: bool,
}

impl Shard {
    /// Numbers below the first may be hidden by now, those below the second must have been for a
    /// read that began then.
    pub(super) fn trims(&self, began: Moment) -> (u64, u64) {
        let acknowledged = self.trimmed.iter().filter(|(at, _)| *at <= began);
        let must_hide = acknowledged.map(|(_, before)| *before).max().unwrap_or(0);
        let may_hide = if self.dropped {
            u64::MAX
        } else {
            self.may_hide
        };
        (may_hide, must_hide)
    }
}
