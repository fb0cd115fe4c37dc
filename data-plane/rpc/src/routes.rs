//! Which server holds which group, and which group holds which shard. Plain state, no I/O.

use std::collections::{BTreeMap, HashMap};

use millstream_link::Endpoint;
use millstream_types::{Epoch, GroupId, ShardUid, StreamUid};

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) server: Endpoint,
    /// Highest life of the group's writer that was heard of.
    pub(crate) epoch: Epoch,
}

/// The routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    groups: BTreeMap<GroupId, Route>,
    /// Highest version of each pool's placement, as the operator orders them.
    pools: HashMap<String, (u64, u64)>,
    shards: HashMap<ShardUid, GroupId>,
    /// The shards of each stream that a home has told of, so that they can be forgotten with it. Two
    /// homes may tell of one stream, one of them from a volume of long ago: neither takes the
    /// other's shards away.
    streams: HashMap<(GroupId, StreamUid), Vec<ShardUid>>,
}

impl Routes {
    /// Takes the placement of a pool over. One that is older than the last is refused: false.
    pub(crate) fn place(
        &mut self,
        pool: &str,
        version: (u64, u64),
        groups: &BTreeMap<GroupId, Endpoint>,
    ) -> bool {
        let last = self.pools.entry(pool.to_owned()).or_default();
        if version < *last {
            return false;
        }
        *last = version;
        let of_pool =
            |group: &GroupId| pool.split_once('/') == Some((group.namespace(), group.pool()));
        self.groups
            .retain(|group, _| !of_pool(group) || groups.contains_key(group));
        for (group, server) in groups.iter().filter(|(group, _)| of_pool(group)) {
            let epoch = self.groups.get(group).map_or(Epoch(0), |route| route.epoch);
            let route = Route {
                server: server.clone(),
                epoch,
            };
            self.groups.insert(group.clone(), route);
        }
        true
    }

    /// Forgets the groups of every pool that `is_there` does not know.
    pub(crate) fn keep_pools(&mut self, is_there: impl Fn(&str, &str) -> bool) {
        self.groups
            .retain(|group, _| is_there(group.namespace(), group.pool()));
        self.pools.retain(|pool, _| {
            pool.split_once('/')
                .is_none_or(|(namespace, name)| is_there(namespace, name))
        });
    }

    pub(crate) fn group(&self, group: &GroupId) -> Option<Route> {
        self.groups.get(group).cloned()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupId, &Route)> {
        self.groups.iter()
    }

    /// Notes a life of a group's writer; an earlier one changes nothing. True when it is news.
    pub(crate) fn learn_epoch(&mut self, group: &GroupId, epoch: Epoch) -> bool {
        match self.groups.get_mut(group) {
            Some(route) if epoch > route.epoch => {
                route.epoch = epoch;
                true
            },
            _ => false,
        }
    }

    pub(crate) fn group_of(&self, shard: ShardUid) -> Option<&GroupId> {
        self.shards.get(&shard)
    }

    /// Notes where the shards of a stream live, as its home tells, instead of what that told before.
    pub(crate) fn put_stream(
        &mut self,
        home: &GroupId,
        stream: StreamUid,
        shards: impl Iterator<Item = (ShardUid, GroupId)>,
    ) {
        self.remove_stream(home, stream);
        let mut uids = Vec::new();
        for (shard, group) in shards {
            uids.push(shard);
            self.shards.insert(shard, group);
        }
        self.streams.insert((home.clone(), stream), uids);
    }

    /// Forgets the shards of a stream that this home has told of.
    pub(crate) fn remove_stream(&mut self, home: &GroupId, stream: StreamUid) {
        let told = self.streams.remove(&(home.clone(), stream));
        for shard in told.into_iter().flatten() {
            self.shards.remove(&shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_link::{Identity, Role};

    use super::*;

    fn group(ordinal: u32) -> GroupId {
        GroupId::new("a", "p", ordinal).expect("a group")
    }

    fn server(address: &str) -> Endpoint {
        let shard = Identity::new("a", Role::Shard, "p-0").expect("an identity");
        Endpoint::of(address.parse().expect("an address"), shard)
    }

    fn placed(groups: &[(u32, &str)]) -> BTreeMap<GroupId, Endpoint> {
        let each = groups.iter();
        each.map(|(ordinal, to)| (group(*ordinal), server(to)))
            .collect()
    }

    #[test]
    fn an_older_placement_is_refused_and_an_equal_one_is_nothing_new() {
        let mut routes = Routes::default();
        assert!(routes.place("a/p", (1, 5), &placed(&[(0, "old:1")])));
        assert!(!routes.place("a/p", (1, 4), &placed(&[(0, "stale:1")])));
        assert!(!routes.place("a/p", (0, 9), &placed(&[(0, "stale:1")])));
        assert_eq!(
            routes.group(&group(0)).map(|r| r.server),
            Some(server("old:1"))
        );
        assert!(routes.place("a/p", (1, 5), &placed(&[(0, "old:1")])));
        assert!(routes.place("a/p", (2, 0), &placed(&[(0, "new:1"), (1, "b:1")])));
        assert_eq!(
            routes.group(&group(0)).map(|r| r.server),
            Some(server("new:1"))
        );
    }

    #[test]
    fn a_placement_is_the_whole_of_its_pool_and_of_no_other() {
        let mut routes = Routes::default();
        routes.place("a/p", (1, 0), &placed(&[(0, "a:1"), (1, "b:1")]));
        let other = GroupId::new("a", "q", 0).expect("a group");
        let elsewhere = BTreeMap::from([(other.clone(), server("c:1"))]);
        routes.place("a/q", (1, 0), &elsewhere);
        // What a pool says of another one's groups does not count.
        routes.place("a/p", (1, 1), &elsewhere);
        assert_eq!(
            routes.groups().map(|(g, _)| g.clone()).collect::<Vec<_>>(),
            [other]
        );
    }

    #[test]
    fn a_pool_that_is_no_more_is_forgotten_whole() {
        let mut routes = Routes::default();
        routes.place("a/p", (3, 0), &placed(&[(0, "a:1"), (1, "b:1")]));
        let other = GroupId::new("a", "q", 0).expect("a group");
        let elsewhere = BTreeMap::from([(other.clone(), server("c:1"))]);
        routes.place("a/q", (1, 0), &elsewhere);
        routes.keep_pools(|namespace, pool| (namespace, pool) == ("a", "q"));
        let left: Vec<_> = routes.groups().map(|(group, _)| group.clone()).collect();
        assert_eq!(left, [other]);
        // One that is made anew later begins anew.
        assert!(routes.place("a/p", (1, 0), &placed(&[(0, "d:1")])));
    }

    #[test]
    fn an_epoch_never_goes_back_and_outlives_a_new_address() {
        let mut routes = Routes::default();
        routes.place("a/p", (1, 0), &placed(&[(0, "a:1")]));
        assert!(routes.learn_epoch(&group(0), Epoch(7)));
        assert!(!routes.learn_epoch(&group(0), Epoch(6)));
        routes.place("a/p", (1, 1), &placed(&[(0, "b:1")]));
        assert_eq!(routes.group(&group(0)).map(|r| r.epoch), Some(Epoch(7)));
    }

    #[test]
    fn the_shards_of_a_stream_go_with_it() {
        let mut routes = Routes::default();
        let (one, two) = (StreamUid(1), StreamUid(2));
        let home = group(0);
        routes.put_stream(
            &home,
            one,
            [(ShardUid(10), group(0)), (ShardUid(11), group(1))].into_iter(),
        );
        routes.put_stream(&home, two, [(ShardUid(20), group(0))].into_iter());
        routes.put_stream(&home, one, [(ShardUid(11), group(0))].into_iter());
        assert_eq!(routes.group_of(ShardUid(10)), None);
        assert_eq!(routes.group_of(ShardUid(11)), Some(&group(0)));
        routes.remove_stream(&home, one);
        assert_eq!(routes.group_of(ShardUid(11)), None);
        assert_eq!(routes.group_of(ShardUid(20)), Some(&group(0)));
    }

    #[test]
    fn an_old_catalogue_takes_no_shards_of_the_stream_that_is_elsewhere_now() {
        let mut routes = Routes::default();
        let (old, new, one) = (group(0), group(1), StreamUid(1));
        routes.put_stream(&new, one, [(ShardUid(20), group(1))].into_iter());
        routes.put_stream(&old, one, [(ShardUid(10), group(0))].into_iter());
        assert_eq!(routes.group_of(ShardUid(20)), Some(&group(1)));
        routes.remove_stream(&old, one);
        assert_eq!(routes.group_of(ShardUid(10)), None);
        assert_eq!(routes.group_of(ShardUid(20)), Some(&group(1)));
    }
}
