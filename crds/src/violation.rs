//! What is wrong with a manifest, and what would make it right.

use std::fmt;

/// One broken rule: the field, why it is refused, and the fix.
///
/// Printed as one line: `spec.shardCount: 0 is below 1; set a value from 1 to 10000`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// The path of the field, as in the manifest: `spec.retentionPeriodHours`.
    pub field: String,
    /// Why it is refused, in lower case, without a full stop.
    pub reason: String,
    /// What to write instead.
    pub fix: String,
}

impl Violation {
    /// A violation of `field`.
    #[must_use]
    pub fn new(
        field: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.reason, self.fix)
    }
}
