//! Binding: every worker's sockets on every address, before any of them serves.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use super::inherit::{Inherited, Kept};
use crate::sys::{Bound, bind_datagram, bind_stream};

/// How often another port is tried where the address leaves the choice open and TCP has the one that UDP got.
const PORT_TRIES: usize = 20;

/// The sockets of one worker at one address.
pub(super) struct Listener {
    /// For datagrams.
    pub(super) datagram: Bound,
    /// For connections.
    pub(super) stream: TcpListener,
    /// Says when to end.
    pub(super) stop: Stop,
}

/// Ends what listens on one address, in all workers.
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
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}{}", hint(.error))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return " (the kernel has no such protocol family: remove the address from [listen] dns)";
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need root or the capability NET_BIND_SERVICE; or listen on another port)"
        }
        io::ErrorKind::AddrInUse => " (another server holds it: `ss -lntup` shows which)",
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        _ => "",
    }
}

/// Binds `address` for a number of workers, or takes the sockets that are there for it already. Gives it with its real
/// port, at least one listener a worker, and what is to be handed on.
pub(super) fn bind(
    address: SocketAddr,
    workers: usize,
    inherited: &mut Inherited,
) -> Result<(SocketAddr, Vec<Listener>, Kept), BindError> {
    let fail = |error| BindError { address, error };
    if let Some((datagram, stream)) = inherited.take(address) {
        let (listeners, kept) = share(&datagram, &stream, workers).map_err(fail)?;
        return Ok((address, listeners, kept));
    }
    let (address, sockets) = bind_one(address, workers).map_err(fail)?;
    let (datagram, stream): (Vec<_>, Vec<_>) =
        sockets.into_iter().map(|(datagram, stream)| (datagram.socket, stream)).unzip();
    let (listeners, kept) = share(&datagram, &stream, workers).map_err(fail)?;
    Ok((address, listeners, kept))
}

/// Gives every socket to a worker, and every worker a socket: with fewer sockets than workers, some read the same one.
fn share(datagram: &[UdpSocket], stream: &[TcpListener], workers: usize) -> io::Result<(Vec<Listener>, Kept)> {
    let count = workers.max(datagram.len()).max(stream.len());
    let mut listeners = Vec::with_capacity(count);
    for (datagram, stream) in datagram.iter().cycle().zip(stream.iter().cycle()).take(count) {
        let with_local_address = datagram.local_addr()?.ip().is_unspecified();
        listeners.push(Listener {
            datagram: Bound { socket: datagram.try_clone()?, with_local_address },
            stream: stream.try_clone()?,
            stop: Stop::default(),
        });
    }
    let mut kept = Kept::default();
    for socket in datagram {
        kept.datagram.push(socket.try_clone()?.into());
    }
    for listener in stream {
        kept.stream.push(listener.try_clone()?.into());
    }
    Ok((listeners, kept))
}

/// Binds one address for every worker. Where any port may be taken, another is tried when somebody else was faster.
fn bind_one(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<(Bound, TcpListener)>)> {
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        match try_bind(address, workers) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            result => return result,
        }
    }
}

fn try_bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<(Bound, TcpListener)>)> {
    let real = try_pair(address)?;
    let sockets = (0..workers).map(|_| Ok((bind_datagram(real)?, bind_stream(real)?)));
    Ok((real, sockets.collect::<io::Result<_>>()?))
}

/// Finds out that nobody else holds the address, and which port it is where any may be taken. Sharing an address among
/// workers would share it with another server just as well, in silence.
fn try_pair(address: SocketAddr) -> io::Result<SocketAddr> {
    let datagram = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        datagram.set_only_v6(true)?;
    }
    datagram.bind(&address.into())?;
    let address = UdpSocket::from(datagram).local_addr()?;
    let stream = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        stream.set_only_v6(true)?;
    }
    stream.set_reuse_address(true)?;
    stream.bind(&address.into())?;
    stream.listen(1)?;
    Ok(address)
}
