//! What each server is told: made from placements that are persisted, sent when it has changed.

use std::sync::Arc;

use millstream_link::{Identity, Role};

use crate::coordinator::{Coordinator, Effect, Persisted, wanted_in};
use crate::desired::{DesiredState, GatewayDesired, HomedStream, Peer, ShardDesired, Wanted};
use crate::placement::Routes;
use crate::stream::Version;
use crate::version::PlacementVersion;

impl Coordinator {
    /// Sends each attached server what it should do, if it has not been told.
    pub(super) fn tell(&mut self, effects: &mut Vec<Effect>) {
        if !self.pools_known || !self.streams_known {
            return;
        }
        let due: Vec<Identity> = self
            .servers
            .iter()
            .filter(|(_, server)| server.reported && (server.look_again || server.say_again))
            .map(|(id, _)| id.clone())
            .collect();
        let mut news = Vec::new();
        for id in due {
            news.push((self.should(&id), id));
        }
        for (state, id) in news {
            self.tell_one(&id, state, effects);
        }
    }

    fn tell_one(&mut self, id: &Identity, state: Option<DesiredState>, effects: &mut Vec<Effect>) {
        let Some((_, server)) = self.servers.iter_mut().find(|(other, _)| *other == id) else {
            return;
        };
        server.look_again = false;
        let (Some(state), Some(session)) = (state, server.session) else {
            return;
        };
        let known = server
            .told
            .as_ref()
            .filter(|told| (***told).clone().with_version(UNVERSIONED) == state);
        let state = match known {
            Some(_) if !server.say_again => return,
            Some(told) => Arc::clone(told),
            None => {
                self.counter += 1;
                let version = PlacementVersion::new(self.term, self.counter);
                Arc::new(state.with_version(version))
            },
        };
        server.say_again = false;
        server.told = Some(Arc::clone(&state));
        effects.push(Effect::Send {
            to: id.clone(),
            session,
            state,
        });
    }

    /// What a server should do, as far as it is persisted; without a version.
    fn should(&self, server: &Identity) -> Option<DesiredState> {
        match server.role() {
            Role::Operator => None,
            Role::Gateway => self.gateway().map(DesiredState::Gateway),
            Role::Shard => self
                .pools
                .values()
                .filter_map(|pool| pool.held())
                .find_map(|held| self.shard(held, server))
                .map(DesiredState::Shard),
        }
    }

    fn gateway(&self) -> Option<GatewayDesired> {
        let access = self.access.clone()?;
        let held = self.pools.values().filter_map(|pool| pool.held());
        let routes = held.map(|held| {
            let placement = held.placement();
            Routes::serving(placement, |uid| {
                let wanted = wanted_in(&self.streams, placement.pool.namespace(), uid);
                wanted.is_some_and(|stream| !stream.delete)
            })
        });
        Some(GatewayDesired {
            version: UNVERSIONED,
            routes: routes.collect(),
            // Those, too, that are not written down in this term yet: nobody is to forget them.
            pools: self
                .knows_all_pools
                .then(|| self.pools.keys().cloned().collect()),
            access,
            gateways: self.servers.gateways(),
        })
    }

    fn shard(&self, held: &Persisted, server: &Identity) -> Option<ShardDesired> {
        let placement = held.placement();
        let ordinal = placement.ordinal_of(server)?;
        let pool = &placement.pool;
        let peers = placement.groups.iter().filter_map(|(ordinal, seat)| {
            Some(Peer {
                group: pool.group(*ordinal),
                server: seat.identity(pool)?,
                address: seat.address.clone(),
                direct: seat.direct.clone(),
            })
        });
        let homed = placement.homes.iter();
        let homed = homed.filter(|(_, home)| home.group == ordinal);
        let wanted = |uid| wanted_in(&self.streams, pool.namespace(), uid);
        let streams = homed.map(|(uid, home)| match wanted(*uid) {
            Some(stream) => HomedStream {
                uid: *uid,
                scope: stream.scope.clone(),
                name: match &stream.spec {
                    Some(spec) => spec.name.clone(),
                    None => home.name.clone(),
                },
                wanted: if stream.delete {
                    Wanted::Delete
                } else {
                    Wanted::Serve
                },
                version: stream.version,
                spec: stream.spec.clone(),
                made: home.made,
            },
            None => HomedStream {
                uid: *uid,
                scope: home.scope.clone(),
                name: home.name.clone(),
                wanted: Wanted::Retain,
                version: Version::default(),
                spec: None,
                made: home.made,
            },
        });
        Some(ShardDesired {
            version: UNVERSIONED,
            placement: placement.version,
            group: pool.group(ordinal),
            peers: peers.collect(),
            streams: streams.collect(),
        })
    }
}

/// Of a state that has not been given one.
const UNVERSIONED: PlacementVersion = PlacementVersion::new(0, 0);
