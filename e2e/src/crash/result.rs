//! What the kill loop came to.

use millstream_storage::history::Report;
use serde::Serialize;

/// The last line of the loop; the names are fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CrashResult {
    /// Kills under load.
    pub cycles: u32,
    /// Records that were acknowledged.
    pub acked: u64,
    /// Records that were acknowledged or seen and are gone.
    pub lost: u64,
    /// Records with two numbers.
    pub doubled: u64,
    /// Records out of order.
    pub reordered: u64,
    /// Records that nobody sent.
    pub phantom: u64,
    /// WAL files that were ended.
    pub rolls: u64,
    /// Checkpoints that were finished.
    pub checkpoints: u64,
    /// Longest time from a start to being ready.
    pub max_recovery_ms: u64,
}

impl CrashResult {
    /// Adds the verdict over one stream.
    pub fn add(&mut self, report: &Report) {
        self.acked += report.acked;
        self.lost += report.lost;
        self.doubled += report.doubled;
        self.reordered += report.reordered;
        self.phantom += report.phantom;
    }

    /// Whether nothing went wrong and the loop reached what it is for.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let faults = self.lost + self.doubled + self.reordered + self.phantom;
        faults == 0 && self.acked > 0 && self.rolls > 0 && self.checkpoints > 0
    }

    /// The result as one line of JSON.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a plain struct of numbers is JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> CrashResult {
        CrashResult {
            cycles: 1,
            acked: 5,
            rolls: 1,
            checkpoints: 1,
            ..CrashResult::default()
        }
    }

    #[test]
    fn a_result_is_good_without_faults_and_with_rolls_and_checkpoints() {
        assert!(good().is_good());
        for spoil in [
            |r: &mut CrashResult| r.lost = 1,
            |r: &mut CrashResult| r.doubled = 1,
            |r: &mut CrashResult| r.reordered = 1,
            |r: &mut CrashResult| r.phantom = 1,
            |r: &mut CrashResult| r.rolls = 0,
            |r: &mut CrashResult| r.checkpoints = 0,
            |r: &mut CrashResult| r.acked = 0,
        ] {
            let mut result = good();
            spoil(&mut result);
            assert!(!result.is_good(), "{}", result.line());
        }
    }

    #[test]
    fn the_line_has_the_fixed_names_in_their_order() {
        let expected = "{\"cycles\":1,\"acked\":5,\"lost\":0,\"doubled\":0,\"reordered\":0,\
            \"phantom\":0,\"rolls\":1,\"checkpoints\":1,\"max_recovery_ms\":0}";
        assert_eq!(good().line(), expected);
    }
}
