//! How many pods a pool has.

use crate::config::PoolClass;

/// Pods for `shards` shards: as many as hold them, within the class's bounds, and never fewer than
/// there are: a pod's volume holds records, and a pool of volumes shrinks by resharding alone.
#[must_use]
pub fn replicas(class: &PoolClass, shards: u64, existing: u32) -> u32 {
    let pods = shards.div_ceil(u64::from(class.shards_per_pod));
    let wanted = u32::try_from(pods).unwrap_or(u32::MAX);
    wanted.clamp(class.pods.min, class.pods.max).max(existing)
}

/// Shards that the largest pool of the class holds.
#[must_use]
pub fn shards_max(class: &PoolClass) -> u64 {
    u64::from(class.pods.max) * u64::from(class.shards_per_pod)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pool_class::Pods;

    #[test]
    fn a_pool_grows_with_its_shards_within_its_bounds_and_never_shrinks() {
        let class = PoolClass {
            pods: Pods { min: 2, max: 4 },
            shards_per_pod: 10,
            ..PoolClass::default()
        };
        for (shards, existing, want) in [
            (0, 0, 2),
            (20, 0, 2),
            (21, 0, 3),
            (1_000, 0, 4),
            (0, 3, 3),
            (u64::MAX, 0, 4),
            (1, 9, 9),
        ] {
            assert_eq!(
                replicas(&class, shards, existing),
                want,
                "{shards} {existing}"
            );
        }
        assert_eq!(shards_max(&class), 40);
    }
}
