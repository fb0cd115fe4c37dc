//! The same traits over a simulated network, where time is the simulation's.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use millstream_clock::task;
use millstream_link::grpc::{ServeOptions, was_not_sent};
use millstream_link::{
    Address, ConnectError, Connection, Connector, Endpoint, Handshake, Listener,
};
use turmoil::net::{TcpListener, TcpStream};

use crate::bed::{address, ask, call, channel, serving};

const PORT: u16 = 4569;

struct Simulated;

impl Connector for Simulated {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        let to = &to.address;
        async move {
            let opened = TcpStream::connect((to.host(), to.port())).await;
            let opened = opened.map_err(|error| ConnectError::Unreachable {
                to: to.clone(),
                reason: error.to_string(),
            })?;
            Ok(Connection::plain(opened))
        }
        .boxed()
    }
}

struct SimulatedListener(TcpListener);

impl Listener for SimulatedListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        async move {
            let (stream, _) = self.0.accept().await?;
            Ok(async move { Ok(Connection::plain(stream)) }.boxed())
        }
        .boxed()
    }

    fn address(&self) -> Address {
        address("server:4569")
    }
}

async fn serve_for_ever() -> turmoil::Result {
    let socket = TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)).await?;
    let _stop = serving(SimulatedListener(socket), ServeOptions::default());
    std::future::pending::<()>().await;
    Ok(())
}

#[test]
fn a_partition_is_noticed_by_the_pings_and_the_way_back_is_found() {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(120))
        .rng_seed(7)
        .build();
    sim.host("server", serve_for_ever);
    sim.client("client", async {
        let channel = channel(Simulated, &address("server:4569"));
        ask(&channel).await.expect("an answer");

        // no deadline of its own: the pings end it
        let cut = async {
            task::sleep(Duration::from_secs(1)).await;
            turmoil::partition("client", "server");
        };
        let (status, ()) = tokio::join!(call(&channel, "/hang"), cut);
        let status = status.expect_err("the network is cut");
        assert!(!was_not_sent(&status), "{status:?}");

        let status = ask(&channel).await.expect_err("the network is cut");
        assert!(was_not_sent(&status), "{status:?}");
        turmoil::repair("client", "server");
        ask(&channel).await.expect("the network is whole again");
        Ok(())
    });
    sim.run().expect("the simulation ends");
}
