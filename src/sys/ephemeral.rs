//! Ports that the kernel draws, and sockets that it draws them for again and again.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the shell's sockets, and the kernel's word on ports"
)]

use std::io;
use std::net::UdpSocket;
use std::ops::RangeInclusive;

/// Where the kernel tells which ports it draws from, for IPv4 and IPv6 alike.
pub const EPHEMERAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Datagrams that may have been left in a socket.
const LEFT_MAX: usize = 16;

/// The ports that the kernel draws from, each as likely, for sockets that are not bound
/// (`net.ipv4.ip_local_port_range`; RFC 6056 §3.3.1). `None` where it does not tell.
pub fn ephemeral_ports() -> Option<RangeInclusive<u16>> {
    range_of(&std::fs::read_to_string(EPHEMERAL_PORTS).ok()?)
}

fn range_of(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    Some(first.parse().ok()?..=last.trim_start().parse().ok()?)
}

/// Takes peer and port from a connected socket that was never bound: nothing reaches it any more, and the next connect
/// draws another port.
pub fn disconnect(socket: &UdpSocket) -> io::Result<()> {
    Ok(rustix::net::connect_unspec(socket)?)
}

/// Throws away what came to a socket before it was disconnected; whether nothing is left.
pub fn discard_received(socket: &UdpSocket) -> bool {
    let mut byte = [0];
    (0..LEFT_MAX).any(|_| matches!(socket.recv(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::open_connected;

    #[test]
    fn ranges_are_read() {
        assert_eq!(range_of("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(range_of("1024 65535"), Some(1024..=65535));
        assert_eq!(range_of("32768"), None);
        assert_eq!(range_of("32768\t70000\n"), None);
        assert!(ephemeral_ports().is_some_and(|ports| !ports.is_empty()), "this kernel tells");
    }

    #[test]
    fn a_socket_gets_other_ports_and_nothing_of_before() {
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = upstream.local_addr().unwrap();
        let socket = open_connected(to, None).unwrap();
        let first = socket.local_addr().unwrap();
        let before = SocketAddr::new(to.ip(), first.port());
        upstream.send_to(b"one", before).unwrap();
        upstream.send_to(b"two", before).unwrap();
        disconnect(&socket).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0, "the port is given back");
        upstream.send_to(b"late", before).unwrap();
        assert!(discard_received(&socket));
        let ports = (0..8).map(|_| {
            socket.connect(to).unwrap();
            let port = socket.local_addr().unwrap().port();
            assert!(discard_received(&socket), "nothing came to this port");
            disconnect(&socket).unwrap();
            port
        });
        let ports: HashSet<u16> = ports.collect();
        assert!(ports.len() > 1, "{ports:?}");
        let range = ephemeral_ports().unwrap();
        assert!(ports.iter().all(|port| range.contains(port)), "{ports:?}");
    }

    #[test]
    fn a_socket_that_does_not_run_dry_is_given_up() {
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = open_connected(upstream.local_addr().unwrap(), None).unwrap();
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), socket.local_addr().unwrap().port());
        let end = Instant::now() + Duration::from_secs(20);
        while discard_received(&socket) {
            assert!(Instant::now() < end, "as many as it takes, and it calls itself dry");
            for _ in 0..LEFT_MAX {
                upstream.send_to(b"guess", to).unwrap();
            }
        }
        while !discard_received(&socket) {
            assert!(Instant::now() < end, "nothing is sent any more");
        }
    }
}
