//! For tests and simulations: a network in memory, and connections on which a peer only claims who
//! it is.
//!
//! [`Claim`] and [`Claims`] go over any connector and listener, a simulated network's too: the
//! first line says who connects. Nothing here keeps anybody out.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use crate::transport::{
    BoxIo, ConnectError, Connection, Connector, Handshake, HandshakeError, Listener, Resolver,
};
use crate::{Address, Endpoint, Identity, PeerIdentity};

/// Bytes in flight in a pipe.
const PIPE_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;
/// Longest claim, in bytes.
const CLAIM_BYTES_MAX: usize = 512;
/// How an anonymous peer introduces itself.
const NOBODY: &str = "-";

/// A network in memory: listeners by address. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct Pipes {
    listeners: Arc<Mutex<BTreeMap<Address, mpsc::Sender<DuplexStream>>>>,
    names: Arc<Mutex<BTreeMap<Address, Vec<Address>>>>,
}

impl Pipes {
    /// Listens at `address`, in the place of whoever did.
    #[must_use]
    pub fn listen(&self, address: &Address) -> PipeListener {
        let (sender, accepted) = mpsc::channel(BACKLOG);
        self.listeners.lock().insert(address.clone(), sender);
        PipeListener {
            accepted,
            address: address.clone(),
        }
    }

    /// Makes `name` stand for these addresses.
    pub fn name(&self, name: &Address, addresses: Vec<Address>) {
        self.names.lock().insert(name.clone(), addresses);
    }
}

impl Connector for Pipes {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            let refused = || ConnectError::Unreachable {
                to: to.address.clone(),
                reason: "nobody listens".to_owned(),
            };
            let listener = self
                .listeners
                .lock()
                .get(&to.address)
                .cloned()
                .ok_or_else(refused)?;
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            listener.send(theirs).await.map_err(|_| refused())?;
            Ok(Connection::plain(ours))
        }
        .boxed()
    }
}

impl Resolver for Pipes {
    fn resolve<'a>(&'a self, name: &'a Address) -> BoxFuture<'a, io::Result<Vec<Address>>> {
        let found = self.names.lock().get(name).cloned();
        async move { found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)) }.boxed()
    }
}

/// Accepts the connections of a network in memory.
#[derive(Debug)]
pub struct PipeListener {
    accepted: mpsc::Receiver<DuplexStream>,
    address: Address,
}

impl Listener for PipeListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        async move {
            match self.accepted.recv().await {
                Some(stream) => Ok(async move { Ok(Connection::plain(stream)) }.boxed()),
                // another listener has taken the address
                None => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn address(&self) -> Address {
        self.address.clone()
    }
}

/// Says who it is in the first line of each connection, and expects the other side to say that it
/// is who is meant.
#[derive(Clone)]
pub struct Claim<C> {
    inner: C,
    identity: Option<Identity>,
}

impl<C: Connector> Claim<C> {
    /// Claims to be `identity`; none: anonymous.
    pub const fn new(inner: C, identity: Option<Identity>) -> Self {
        Self { inner, identity }
    }
}

impl<C: Connector> Connector for Claim<C> {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        async move {
            let untrusted = |reason: String| ConnectError::Untrusted {
                to: to.address.clone(),
                reason,
            };
            let mut open = self.inner.connect(to).await?;
            let ours = self.identity.as_ref();
            write_claim(&mut open.io, ours)
                .await
                .map_err(|error| untrusted(error.to_string()))?;
            let theirs = read_claim(&mut open.io).await;
            let theirs = theirs.map_err(|error| untrusted(error.to_string()))?;
            let known = theirs.known();
            let known = known.ok_or_else(|| untrusted("it says no name".to_owned()))?;
            let checked = to.expected.check(known);
            checked.map_err(|error| untrusted(error.to_string()))?;
            Ok(Connection {
                peer: theirs,
                ..open
            })
        }
        .boxed()
    }
}

/// Believes what a peer claims, and says who it is itself.
#[derive(Debug)]
pub struct Claims<L> {
    inner: L,
    identity: Identity,
}

impl<L: Listener> Claims<L> {
    /// Claims to be `identity`.
    pub const fn new(inner: L, identity: Identity) -> Self {
        Self { inner, identity }
    }
}

impl<L: Listener> Listener for Claims<L> {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        async move {
            let plain = self.inner.accept().await?;
            let identity = self.identity.clone();
            let handshake = async move {
                let mut open = plain.await?;
                let peer = read_claim(&mut open.io).await?;
                write_claim(&mut open.io, Some(&identity)).await?;
                Ok::<_, HandshakeError>(Connection { peer, ..open })
            };
            Ok(handshake.boxed())
        }
        .boxed()
    }

    fn address(&self) -> Address {
        self.inner.address()
    }
}

async fn write_claim(io: &mut BoxIo, identity: Option<&Identity>) -> io::Result<()> {
    let claim = identity.map_or_else(|| NOBODY.to_owned(), ToString::to_string);
    io.write_all(format!("{claim}\n").as_bytes()).await?;
    io.flush().await
}

async fn read_claim(io: &mut BoxIo) -> io::Result<PeerIdentity> {
    let mut line = Vec::new();
    loop {
        match io.read_u8().await? {
            b'\n' => break,
            byte if line.len() < CLAIM_BYTES_MAX => line.push(byte),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let text = String::from_utf8_lossy(&line);
    if text == NOBODY {
        return Ok(PeerIdentity::Anonymous);
    }
    let identity = text.parse().map_err(io::Error::other)?;
    Ok(PeerIdentity::Known(identity))
}
