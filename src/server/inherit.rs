//! Sockets that another process bound: its previous process, or systemd. What is queued in them is answered by the process that reads
//! them, so nothing is lost on the way from one process to the next.
//!
//! They are known by their addresses. What was served there before does not matter: the kernel gives an address and port
//! to one server alone, and the settings of this process say what it is for.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use super::endpoint::Endpoint;
use crate::sys::adopt_datagram;

/// The sockets of an endpoint: for datagrams, where it has some, and for connections.
pub(super) type Sockets = (Vec<UdpSocket>, Vec<TcpListener>);

/// Sockets that were handed over and are not used yet.
#[derive(Debug, Default)]
pub struct Inherited {
    datagram: Vec<(SocketAddr, UdpSocket)>,
    stream: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// Takes a datagram socket.
    ///
    /// # Errors
    /// It is no bound socket.
    pub fn add_datagram(&mut self, socket: UdpSocket) -> io::Result<()> {
        adopt_datagram(&socket)?;
        self.datagram.push((socket.local_addr()?, socket));
        Ok(())
    }

    /// Takes a listening socket.
    ///
    /// # Errors
    /// It is no bound socket.
    pub fn add_stream(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.stream.push((listener.local_addr()?, listener));
        Ok(())
    }

    /// Takes all of another one.
    pub fn add_all(&mut self, other: Self) {
        self.datagram.extend(other.datagram);
        self.stream.extend(other.stream);
    }

    /// The addresses that it has both kinds of sockets for.
    pub fn dns_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.datagram.iter().map(|(address, _)| *address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.retain(|address| self.stream.iter().any(|(stream, _)| stream == address));
        addresses
    }

    /// A listening socket at an address.
    pub(super) fn take_stream(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.stream.iter().position(|(known, _)| *known == address)?;
        Some(self.stream.swap_remove(place).1)
    }

    /// The sockets for an endpoint, when there are some of every kind that it has.
    pub(super) fn take(&mut self, endpoint: Endpoint) -> Option<Sockets> {
        let Endpoint { kind, address } = endpoint;
        let has_stream = self.stream.iter().any(|(known, _)| *known == address);
        let has_datagram = self.datagram.iter().any(|(known, _)| *known == address);
        if kind.has_streams() && !has_stream || kind.has_datagrams() && !has_datagram {
            return None;
        }
        let stream = self.stream.extract_if(.., |(known, _)| *known == address && kind.has_streams());
        let stream = stream.map(|(_, listener)| listener).collect();
        let datagram = self.datagram.extract_if(.., |(known, _)| *known == address && kind.has_datagrams());
        Some((datagram.map(|(_, socket)| socket).collect(), stream))
    }
}

/// The sockets of one endpoint, kept to be handed on.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) datagram: Vec<OwnedFd>,
    pub(super) stream: Vec<OwnedFd>,
}
