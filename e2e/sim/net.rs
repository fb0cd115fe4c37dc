//! The network of a simulation: `turmoil` under the connector and the listener of
//! `millstream-link`, with names that can move from one machine to another.
//!
//! Who connects says who it is in plain text (`link::testkit`): certificates have their own tests,
//! and here every byte has to be the same for the same seed.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures::future::{BoxFuture, FutureExt as _};
use millstream_link::{
    Address, ConnectError, Connection, Connector, Endpoint, Handshake, Listener, Resolver,
};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Which machines answer to a name, as DNS says. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Names(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    machines: BTreeMap<String, Vec<String>>,
    /// What one machine believes of a name instead.
    stale: BTreeMap<(String, String), String>,
    /// Open connections, by who opened them and to which machine.
    open: BTreeMap<(String, String), Vec<Weak<Cut>>>,
}

impl Names {
    /// From now on `name` means these machines.
    pub(crate) fn set(&self, name: &str, machines: Vec<String>) {
        self.0.lock().machines.insert(name.to_owned(), machines);
    }

    /// From now on `on` believes that `name` means `machine`; none: it hears the truth again.
    pub(crate) fn set_stale(&self, on: &str, name: &str, machine: Option<String>) {
        let key = (on.to_owned(), name.to_owned());
        let stale = &mut self.0.lock().stale;
        match machine {
            Some(machine) => stale.insert(key, machine),
            None => stale.remove(&key),
        };
    }

    /// Cuts the connections that `on` has opened to `to`: both ends see a reset.
    pub(crate) fn cut(&self, on: &str, to: &str) {
        let open = self.0.lock().open.remove(&(on.to_owned(), to.to_owned()));
        for cut in open.into_iter().flatten().filter_map(|cut| cut.upgrade()) {
            cut.cut();
        }
    }

    fn opened(&self, on: &str, to: &str, stream: TcpStream) -> Cuttable {
        let cut = Arc::new(Cut::default());
        let key = (on.to_owned(), to.to_owned());
        let mut table = self.0.lock();
        let open = table.open.entry(key).or_default();
        open.retain(|cut| cut.strong_count() > 0);
        open.push(Arc::downgrade(&cut));
        Cuttable { stream, cut }
    }

    fn machines(&self, on: &str, name: &str) -> Vec<String> {
        let table = self.0.lock();
        if let Some(machine) = table.stale.get(&(on.to_owned(), name.to_owned())) {
            return vec![machine.clone()];
        }
        let found = table.machines.get(name).cloned();
        found.unwrap_or_else(|| vec![name.to_owned()])
    }
}

/// Opens connections from one machine.
#[derive(Clone)]
pub(crate) struct SimConnector {
    machine: String,
    names: Names,
}

impl SimConnector {
    pub(crate) fn new(machine: &str, names: Names) -> Self {
        Self {
            machine: machine.to_owned(),
            names,
        }
    }
}

impl Connector for SimConnector {
    fn connect<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        let to = &to.address;
        let machines = self.names.machines(&self.machine, to.host());
        async move {
            let opened = match machines.first() {
                Some(machine) => TcpStream::connect((machine.as_str(), to.port())).await,
                None => Err(io::ErrorKind::NotFound.into()),
            };
            let stream = opened.map_err(|error| ConnectError::Unreachable {
                to: to.clone(),
                reason: error.to_string(),
            })?;
            let machine = machines.first().map_or("", String::as_str);
            let opened = self.names.opened(&self.machine, machine, stream);
            Ok(Connection::plain(opened))
        }
        .boxed()
    }
}

impl Resolver for SimConnector {
    fn resolve<'a>(&'a self, name: &'a Address) -> BoxFuture<'a, io::Result<Vec<Address>>> {
        let machines = self.names.machines(&self.machine, name.host());
        let address = |machine: &String| format!("{machine}:{}", name.port()).parse();
        let addresses: Result<Vec<Address>, _> = machines.iter().map(address).collect();
        async move { addresses.map_err(io::Error::other) }.boxed()
    }
}

/// Accepts connections on a port of the machine it runs on.
pub(crate) struct SimListener {
    socket: TcpListener,
    address: Address,
}

impl SimListener {
    /// Listens; `name` is what others call this process.
    pub(crate) async fn bind(name: &str, port: u16) -> io::Result<Self> {
        let address = format!("{name}:{port}").parse().map_err(io::Error::other)?;
        let socket = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Self { socket, address })
    }
}

impl Listener for SimListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Handshake>> {
        async move {
            let (stream, _from) = self.socket.accept().await?;
            Ok(async move { Ok(Connection::plain(stream)) }.boxed() as Handshake)
        }
        .boxed()
    }

    fn address(&self) -> Address {
        self.address.clone()
    }
}

/// Whether a connection was cut, and who waits for something on it.
#[derive(Default)]
struct Cut(Mutex<(bool, Vec<Waker>)>);

impl Cut {
    fn cut(&self) {
        let wakers = {
            let mut state = self.0.lock();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// An error once the connection is cut; until then the task is woken when it is.
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let waker = context.waker();
        if !state.1.iter().any(|known| known.will_wake(waker)) {
            state.1.push(waker.clone());
        }
        Ok(())
    }
}

/// A connection that can be cut.
struct Cuttable {
    stream: TcpStream,
    cut: Arc<Cut>,
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cut.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
