//! Groups whose server did not answer the last read.
//!
//! Who reads holds a place and memory of its gateway, and those of a group that is away must not
//! take them from all others: they are refused at once, while one question that holds nothing finds
//! out when the server is back. Pure state; [`Routed`](crate::Routed) asks.

use std::collections::HashMap;

use millstream_link::Endpoint;
use millstream_types::GroupId;
use parking_lot::Mutex;

/// What to do with a read of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Ask its server.
    Here,
    /// Refuse it: somebody finds out already.
    Away,
    /// Find out whether the server is back, and say it with [`Away::asked`].
    ToAsk,
}

/// The groups that are away: no more of them than there are routes.
#[derive(Debug, Default)]
pub(crate) struct Away(Mutex<HashMap<GroupId, Lost>>);

#[derive(Debug)]
struct Lost {
    /// Where the group was then: elsewhere it is not away.
    server: Option<Endpoint>,
    is_asked: bool,
}

impl Away {
    /// What is known of the group at `server`.
    pub(crate) fn presence(&self, group: &GroupId, server: Option<&Endpoint>) -> Presence {
        match self.0.lock().get_mut(group) {
            Some(lost) if lost.server.as_ref() == server => {
                if lost.is_asked {
                    return Presence::Away;
                }
                lost.is_asked = true;
                Presence::ToAsk
            },
            _ => Presence::Here,
        }
    }

    /// A read of the group was not answered. Groups that `is_known` does not know are forgotten.
    pub(crate) fn lost(
        &self,
        group: &GroupId,
        server: Option<Endpoint>,
        is_known: impl Fn(&GroupId) -> bool,
    ) {
        let mut groups = self.0.lock();
        groups.retain(|group, _| is_known(group));
        let known = groups.get(group).filter(|lost| lost.server == server);
        let is_asked = known.is_some_and(|lost| lost.is_asked);
        groups.insert(group.clone(), Lost { server, is_asked });
    }

    /// The server of the group was asked, and is back or not.
    pub(crate) fn asked(&self, group: &GroupId, server: Option<&Endpoint>, is_back: bool) {
        let mut groups = self.0.lock();
        if let Some(lost) = groups.get_mut(group)
            && lost.server.as_ref() == server
        {
            lost.is_asked = false;
            if is_back {
                groups.remove(group);
            }
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

    fn server(name: &str) -> Endpoint {
        let identity = Identity::new("a", Role::Shard, name).expect("an identity");
        Endpoint::of("host:1".parse().expect("an address"), identity)
    }

    #[test]
    fn one_asks_for_a_lost_group_until_it_is_back_or_elsewhere() {
        let (away, at, group) = (Away::default(), server("x"), group(0));
        assert_eq!(away.presence(&group, Some(&at)), Presence::Here);
        away.lost(&group, Some(at.clone()), |_| true);
        assert_eq!(away.presence(&group, Some(&at)), Presence::ToAsk);
        assert_eq!(away.presence(&group, Some(&at)), Presence::Away);
        away.lost(&group, Some(at.clone()), |_| true);
        assert_eq!(away.presence(&group, Some(&at)), Presence::Away);
        assert_eq!(away.presence(&group, Some(&server("y"))), Presence::Here);
        away.asked(&group, Some(&at), false);
        assert_eq!(away.presence(&group, Some(&at)), Presence::ToAsk);
        away.asked(&group, Some(&at), true);
        assert_eq!(away.presence(&group, Some(&at)), Presence::Here);
    }

    #[test]
    fn groups_that_nobody_knows_any_more_are_forgotten() {
        let away = Away::default();
        away.lost(&group(0), None, |_| true);
        away.lost(&group(1), None, |known| *known != group(0));
        assert_eq!(away.presence(&group(0), None), Presence::Here);
        assert_eq!(away.presence(&group(1), None), Presence::ToAsk);
    }
}
