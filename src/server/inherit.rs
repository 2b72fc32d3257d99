//! Sockets that another process bound: its forerunner, or systemd. What is queued in them is answered by whoever reads
//! them, so nothing is lost on the way from one process to the next.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::sys::adopt_datagram;

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

    /// The listening socket for HTTP at an address.
    pub fn take_stream(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.stream.iter().position(|(known, _)| *known == address)?;
        Some(self.stream.swap_remove(place).1)
    }

    /// The sockets for DNS at an address, when there are some of both kinds.
    pub(super) fn take(&mut self, address: SocketAddr) -> Option<(Vec<UdpSocket>, Vec<TcpListener>)> {
        if !self.dns_addresses().contains(&address) {
            return None;
        }
        let datagram = self.datagram.extract_if(.., |(known, _)| *known == address);
        let datagram = datagram.map(|(_, socket)| socket).collect();
        let stream = self.stream.extract_if(.., |(known, _)| *known == address);
        Some((datagram, stream.map(|(_, listener)| listener).collect()))
    }
}

/// The sockets of one address, kept to be handed on.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) datagram: Vec<OwnedFd>,
    pub(super) stream: Vec<OwnedFd>,
}
