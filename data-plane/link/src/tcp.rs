//! Sockets of the machine.

use std::io;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::net::{TcpListener as Socket, TcpStream};

use crate::transport::{ConnectError, Connection, Connector, Handshake, Listener, Resolver};
use crate::{Address, Endpoint};

/// Most addresses taken from one name.
pub const RESOLVED_ADDRESSES_MAX: usize = 64;

/// Opens TCP connections, and finds addresses by DNS.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            let to = &to.address;
            let stream = open(to).await.map_err(|error| ConnectError::Unreachable {
                to: to.clone(),
                reason: error.to_string(),
            })?;
            Ok(Connection::plain(stream))
        }
        .boxed()
    }
}

async fn open(to: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((to.host(), to.port())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Resolver for TcpConnector {
    fn resolve<'a>(&'a self, name: &'a Address) -> BoxFuture<'a, io::Result<Vec<Address>>> {
        async move {
            let found = tokio::net::lookup_host((name.host(), name.port())).await?;
            let mut addresses: Vec<Address> = found
                .take(RESOLVED_ADDRESSES_MAX)
                .map(Address::from)
                .collect();
            addresses.sort();
            addresses.dedup();
            Ok(addresses)
        }
        .boxed()
    }
}

/// Accepts TCP connections; everybody is anonymous.
#[derive(Debug)]
pub struct TcpListener {
    socket: Socket,
    address: Address,
}

impl TcpListener {
    /// Listens at `address`.
    ///
    /// # Errors
    /// When the address is not to be had.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        let socket = Socket::bind((address.host(), address.port())).await?;
        let address = socket.local_addr()?.into();
        Ok(Self { socket, address })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        async move {
            let (stream, _) = self.socket.accept().await?;
            stream.set_nodelay(true)?;
            Ok(async move { Ok(Connection::plain(stream)) }.boxed())
        }
        .boxed()
    }

    fn address(&self) -> Address {
        self.address.clone()
    }
}
