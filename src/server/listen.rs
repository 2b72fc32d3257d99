//! Binding: every worker's sockets at every endpoint, before any of them serves.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use super::endpoint::{Endpoint, EndpointKind};
use super::inherit::{Inherited, Kept, Sockets};
use crate::sys::{Bound, bind_datagram, bind_stream, bind_stream_alone};

/// How often another port is tried where the address leaves the choice open and TCP has the one that UDP got.
const PORT_TRIES: usize = 20;

/// The sockets of one worker at one endpoint.
pub(super) struct Listener {
    pub(super) kind: EndpointKind,
    /// For datagrams, where the endpoint has some.
    pub(super) datagram: Option<Datagrams>,
    /// For connections, where it has some.
    pub(super) stream: Option<TcpListener>,
    /// Says when to end.
    pub(super) stop: Stop,
}

/// A socket for datagrams of clients, and what says when to end.
#[derive(Clone)]
pub(super) struct DatagramListener {
    pub(super) datagrams: Datagrams,
    pub(super) stop: Stop,
    /// Held until all that came to it is answered, or waits for an upstream.
    pub(super) _served: Served,
}

/// Whether listeners for datagrams are still served, wherever: each holds one of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<()>);

impl Served {
    /// Whether this is the only one.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// A bound datagram socket.
#[derive(Clone)]
pub(super) struct Datagrams {
    pub(super) socket: Arc<UdpSocket>,
    /// Whether it is bound to all addresses and reports which one a datagram came to.
    pub(super) with_local_address: bool,
}

/// Ends what listens at one endpoint, in all workers.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    pub(super) fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it has stopped.
    pub(super) async fn stopped(&self) {
        let _ = self.subscribe().wait_for(|stop| *stop).await;
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}: {error}{}", hint(.endpoint, .error))]
pub struct BindError {
    /// Where, and for what.
    pub endpoint: Endpoint,
    /// What the system says.
    pub error: io::Error,
}

fn hint(endpoint: &Endpoint, error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return " (the kernel has no such protocol family: remove the address)";
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need root or the capability NET_BIND_SERVICE; or listen on another port)"
        }
        io::ErrorKind::AddrInUse if endpoint.kind.has_datagrams() => {
            " (another server has it: `ss -lntup` shows which)"
        }
        io::ErrorKind::AddrInUse => " (another server has it: `ss -lntp` shows which)",
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        _ => "",
    }
}

/// Binds an endpoint that one thread serves alone, or takes the socket that is there for it already.
///
/// # Errors
/// That of the system, with the endpoint.
pub fn bind_alone(endpoint: Endpoint, inherited: &mut Inherited) -> Result<TcpListener, BindError> {
    match inherited.take_stream(endpoint.address) {
        Some(listener) => Ok(listener),
        None => bind_stream_alone(endpoint.address).map_err(|error| BindError { endpoint, error }),
    }
}

/// Binds an endpoint for a number of workers, or takes the sockets that are there for it already. Gives its real address,
/// at least one listener a worker, and what is to be handed on.
pub(super) fn bind(
    endpoint: Endpoint,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<(SocketAddr, Vec<Listener>, Kept), BindError> {
    let fail = |error| BindError { endpoint, error };
    let (address, sockets) = match inherited.take(endpoint) {
        Some(sockets) => (endpoint.address, sockets),
        None => bind_one(endpoint, workers).map_err(fail)?,
    };
    let (listeners, kept) = share(endpoint.kind, sockets, workers).map_err(fail)?;
    Ok((address, listeners, kept))
}

/// Gives every socket to a worker, and every worker a socket: with fewer sockets than workers, some read the same one.
fn share(kind: EndpointKind, (datagram, stream): Sockets, workers: usize) -> io::Result<(Vec<Listener>, Kept)> {
    let count = kind.sockets(workers).max(datagram.len()).max(stream.len());
    let mut kept = Kept::default();
    for socket in &datagram {
        kept.datagram.push(OwnedFd::from(socket.try_clone()?));
    }
    for listener in &stream {
        kept.stream.push(OwnedFd::from(listener.try_clone()?));
    }
    let datagrams = datagram.into_iter().map(|socket| {
        let with_local_address = socket.local_addr()?.ip().is_unspecified();
        Ok(Datagrams { socket: Arc::new(socket), with_local_address })
    });
    let datagrams: Vec<Datagrams> = datagrams.collect::<io::Result<_>>()?;
    let (mut datagrams, mut streams) = (datagrams.iter().cycle(), stream.iter().cycle());
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        listeners.push(Listener {
            kind,
            datagram: datagrams.next().cloned(),
            stream: streams.next().map(TcpListener::try_clone).transpose()?,
            stop: Stop::default(),
        });
    }
    Ok((listeners, kept))
}

/// Binds one endpoint for every worker. Where any port may be taken, another is tried when another process was faster.
fn bind_one(endpoint: Endpoint, workers: usize) -> io::Result<(SocketAddr, Sockets)> {
    let mut tries = if endpoint.address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match try_bind(endpoint, workers) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            result => return result,
        }
    }
}

fn try_bind(endpoint: Endpoint, workers: usize) -> io::Result<(SocketAddr, Sockets)> {
    let Endpoint { kind, address } = endpoint;
    let real = try_alone(kind, address)?;
    let (mut datagram, mut stream) = Sockets::default();
    for _ in 0..kind.sockets(workers) {
        if kind.has_datagrams() {
            let Bound { socket, .. } = bind_datagram(real)?;
            datagram.push(socket);
        }
        if kind.has_streams() {
            stream.push(bind_stream(real)?);
        }
    }
    Ok((real, (datagram, stream)))
}

/// Finds out that no other process has the address, and which port it is where any may be taken. Sharing an address among
/// workers would share it with another server just as well, in silence.
fn try_alone(kind: EndpointKind, mut address: SocketAddr) -> io::Result<SocketAddr> {
    let mut datagram = None;
    if kind.has_datagrams() {
        let socket = unshared(address, Type::DGRAM)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        address = socket.local_addr()?;
        datagram = Some(socket);
    }
    if !kind.has_streams() {
        return Ok(address);
    }
    let stream = unshared(address, Type::STREAM)?;
    stream.set_reuse_address(true)?;
    stream.bind(&address.into())?;
    stream.listen(1)?;
    drop(datagram);
    TcpListener::from(stream).local_addr()
}

fn unshared(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
