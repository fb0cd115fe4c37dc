//! Groups whose server did not answer the last read.
//!
//! Who reads holds a place and memory of its gateway, and those of a group that is away must not
//! take them from all others: they are refused at once, while one question that holds nothing finds
//! out when the server is back. Pure state; [`Routed`](crate::Routed) asks.

use std::collections::HashMap;
use std::sync::Arc;

use millstream_link::Endpoint;
use millstream_types::GroupId;
use parking_lot::Mutex;

/// What to do with a read of a group.
#[derive(Debug)]
pub(crate) enum Presence {
    /// Ask its server.
    Here,
    /// Refuse it: somebody finds out already.
    Away,
    /// Find out whether the server is back.
    ToAsk(Asking),
}

/// The part of whoever finds out whether a server is back. If it is dropped before it is known, the
/// next reader gets it.
#[derive(Debug)]
pub(crate) struct Asking {
    away: Arc<Away>,
    group: GroupId,
    server: Option<Endpoint>,
    is_back: bool,
}

impl Asking {
    /// The server answered, or did not.
    pub(crate) fn found(mut self, is_back: bool) {
        self.is_back = is_back;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut groups = self.away.0.lock();
        if let Some(lost) = groups.get_mut(&self.group)
            && lost.server == self.server
        {
            lost.is_asked = false;
            if self.is_back {
                groups.remove(&self.group);
            }
        }
    }
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
    pub(crate) fn presence(
        self: &Arc<Self>,
        group: &GroupId,
        server: Option<&Endpoint>,
    ) -> Presence {
        match self.0.lock().get_mut(group) {
            Some(lost) if lost.server.as_ref() == server => {
                if lost.is_asked {
                    return Presence::Away;
                }
                lost.is_asked = true;
                Presence::ToAsk(Asking {
                    away: Arc::clone(self),
                    group: group.clone(),
                    server: server.cloned(),
                    is_back: false,
                })
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

    fn asking(presence: Presence) -> Asking {
        match presence {
            Presence::ToAsk(asking) => asking,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_asks_for_a_lost_group_until_it_is_back_or_elsewhere() {
        let (away, at, group) = (Arc::new(Away::default()), server("x"), group(0));
        let presence = |at: &Endpoint| away.presence(&group, Some(at));
        assert!(matches!(presence(&at), Presence::Here));
        away.lost(&group, Some(at.clone()), |_| true);
        let first = asking(presence(&at));
        assert!(matches!(presence(&at), Presence::Away));
        away.lost(&group, Some(at.clone()), |_| true);
        assert!(matches!(presence(&at), Presence::Away));
        assert!(matches!(presence(&server("y")), Presence::Here));
        first.found(false);
        asking(presence(&at)).found(true);
        assert!(matches!(presence(&at), Presence::Here));
    }

    #[test]
    fn the_next_one_asks_when_who_asked_is_gone_or_panics() {
        let (away, group) = (Arc::new(Away::default()), group(0));
        away.lost(&group, None, |_| true);
        drop(asking(away.presence(&group, None)));
        let panics = std::thread::spawn({
            let asking = asking(away.presence(&group, None));
            move || {
                let _asking = asking;
                panic!("a planted panic");
            }
        });
        panics.join().expect_err("it panics");
        asking(away.presence(&group, None)).found(true);
        assert!(matches!(away.presence(&group, None), Presence::Here));
    }

    #[test]
    fn groups_that_nobody_knows_any_more_are_forgotten() {
        let away = Arc::new(Away::default());
        away.lost(&group(0), None, |_| true);
        away.lost(&group(1), None, |known| *known != group(0));
        assert!(matches!(away.presence(&group(0), None), Presence::Here));
        drop(asking(away.presence(&group(1), None)));
    }
}
