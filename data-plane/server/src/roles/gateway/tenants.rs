//! Whose streams a gateway shows, from what the operator tells.
//!
//! A stream belongs to the account of the namespace that its pool stands in. When a namespace gets
//! another number, nobody sees its streams: neither under the new number, which they do not have,
//! nor under the old one, which may be another namespace's by now.

use std::collections::{BTreeMap, BTreeSet};

use millstream_control::{GatewayDesired, PoolId, Routes};
use millstream_stream::Tenants;
use millstream_types::{Scope, StreamName};

/// The newest routes of every pool: what is told now, and what was told before of a pool that is
/// not told of now and still there.
pub(super) fn newest(before: Vec<Routes>, state: &GatewayDesired) -> Vec<Routes> {
    let told: BTreeSet<&PoolId> = state.routes.iter().map(|routes| &routes.pool).collect();
    let before = before.into_iter();
    let kept = before.filter(|known| !told.contains(&known.pool) && is_there(state, &known.pool));
    kept.chain(state.routes.iter().cloned()).collect()
}

/// The tenants of pools with these routes.
pub(super) fn tenants(state: &GatewayDesired, routes: &[Routes]) -> Tenants {
    let accounts = &state.access.accounts;
    let mut served: BTreeMap<Scope, BTreeSet<StreamName>> = BTreeMap::new();
    for routes in routes {
        let account = accounts.get(routes.pool.namespace());
        let streams = routes.streams.iter();
        for streams in streams.filter(|streams| Some(&streams.scope.account) == account) {
            let names = served.entry(streams.scope.clone()).or_default();
            names.extend(streams.names.iter().cloned());
        }
    }
    Tenants {
        accounts: accounts.clone(),
        served,
    }
}

/// Whether the pool is one that there is. An operator that does not say it means every one.
pub(super) fn is_there(state: &GatewayDesired, pool: &PoolId) -> bool {
    state
        .pools
        .as_ref()
        .is_none_or(|pools| pools.contains(pool))
}

#[cfg(test)]
mod tests {
    use millstream_control::{Access, PlacementVersion, ServedStreams};
    use millstream_types::AccountId;

    use super::*;

    fn account(number: u32) -> AccountId {
        format!("{number:012}").parse().expect("an account")
    }

    fn scope(number: u32) -> Scope {
        Scope {
            account: account(number),
            region: "eu-west-1".parse().expect("a region"),
        }
    }

    fn pool(namespace: &str) -> PoolId {
        PoolId::new(namespace, "default").expect("a pool")
    }

    fn routes(namespace: &str, number: u32, name: &str) -> Routes {
        Routes {
            pool: pool(namespace),
            version: PlacementVersion::new(1, 1),
            groups: BTreeMap::new(),
            streams: vec![ServedStreams {
                scope: scope(number),
                names: [name.parse().expect("a name")].into(),
            }],
        }
    }

    fn state(routes: &[Routes], accounts: &[(&str, u32)], pools: &[&str]) -> GatewayDesired {
        let accounts = accounts.iter();
        GatewayDesired {
            version: PlacementVersion::new(1, 1),
            routes: routes.to_vec(),
            pools: Some(pools.iter().map(|namespace| pool(namespace)).collect()),
            access: Access {
                accounts: accounts
                    .map(|(namespace, number)| ((*namespace).to_owned(), account(*number)))
                    .collect(),
                ..Access::default()
            },
            gateways: 1,
        }
    }

    fn served(tenants: &Tenants) -> Vec<(Scope, &str)> {
        let names = tenants.served.iter();
        let names = names.flat_map(|(scope, names)| names.iter().map(|name| (scope.clone(), name)));
        names.map(|(scope, name)| (scope, name.as_str())).collect()
    }

    #[test]
    fn swapped_numbers_open_nothing() {
        let both = [routes("a", 1, "flights"), routes("b", 2, "trains")];
        let right = state(&both, &[("a", 1), ("b", 2)], &["a", "b"]);
        let expected = [(scope(1), "flights"), (scope(2), "trains")];
        assert_eq!(served(&tenants(&right, &both)), expected);
        let swapped = state(&both, &[("a", 2), ("b", 1)], &["a", "b"]);
        assert_eq!(served(&tenants(&swapped, &both)), []);
    }

    #[test]
    fn a_pool_whose_routes_are_not_told_now_is_kept_while_it_is_there() {
        let both = [routes("a", 1, "flights"), routes("b", 2, "trains")];
        let accounts = [("a", 1), ("b", 2)];
        let fewer = state(&both[..1], &accounts, &["a", "b"]);
        let expected = [(scope(1), "flights"), (scope(2), "trains")];
        let told = |state: &GatewayDesired| tenants(state, &newest(both.to_vec(), state));
        assert_eq!(served(&told(&fewer)), expected);
        let gone = state(&both[..1], &accounts, &["a"]);
        assert_eq!(served(&told(&gone)), expected[..1]);
        assert!(is_there(&gone, &pool("a")) && !is_there(&gone, &pool("b")));
        let unsaid = GatewayDesired {
            pools: None,
            ..gone
        };
        assert!(is_there(&unsaid, &pool("b")));
    }
}
