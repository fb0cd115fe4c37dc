//! Tells the operator how far this gateway has followed the catalogue of each group: a stream is
//! ready once every gateway knows it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use millstream_control::CataloguePoint;
use millstream_rpc::Seen;
use millstream_types::GroupId;
use tokio::sync::watch;

use crate::roles::member::Membership;

/// Reports at each change, as long as catalogues are followed.
pub(super) async fn report(
    membership: &Membership,
    mut seen: watch::Receiver<BTreeMap<GroupId, Seen>>,
) -> Infallible {
    loop {
        let catalogues = points(&seen.borrow_and_update());
        membership.report(|state| state.catalogues = Some(catalogues));
        if seen.changed().await.is_err() {
            // Nothing is followed any more: the gateway is ending.
            return std::future::pending().await;
        }
    }
}

fn points(seen: &BTreeMap<GroupId, Seen>) -> BTreeMap<GroupId, CataloguePoint> {
    let point = |seen: &Seen| CataloguePoint {
        epoch: seen.epoch,
        changes: seen.changes,
    };
    let each = seen.iter();
    each.map(|(group, seen)| (group.clone(), point(seen)))
        .collect()
}
