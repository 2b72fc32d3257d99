//! Binding: every worker's sockets on every address, before any of them serves.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::sys::{Bound, bind_datagram, bind_stream};

/// How often another port is tried where the address leaves the choice open and TCP has the one that UDP got.
const PORT_TRIES: usize = 20;

/// The sockets of one worker.
pub(super) struct Listeners {
    /// For datagrams.
    pub(super) datagram: Vec<Bound>,
    /// For connections.
    pub(super) stream: Vec<TcpListener>,
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
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need root or the capability NET_BIND_SERVICE; or listen on another port)"
        }
        io::ErrorKind::AddrInUse => " (another server holds it: `ss -lunp` shows which)",
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        _ => "",
    }
}

/// Binds `addresses` for a number of workers; gives each worker's sockets, and the addresses with their real ports.
pub(super) fn bind(addresses: &[SocketAddr], workers: usize) -> Result<(Vec<Listeners>, Vec<SocketAddr>), BindError> {
    let mut all: Vec<Listeners> =
        (0..workers).map(|_| Listeners { datagram: Vec::new(), stream: Vec::new() }).collect();
    let mut bound = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let (real, sockets) = bind_one(address, workers).map_err(|error| BindError { address, error })?;
        for (listeners, (datagram, stream)) in all.iter_mut().zip(sockets) {
            listeners.datagram.push(datagram);
            listeners.stream.push(stream);
        }
        bound.push(real);
    }
    Ok((all, bound))
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
