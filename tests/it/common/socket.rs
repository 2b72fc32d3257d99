//! Client sockets of the tests: connected, with a chosen source address, framed where they are streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A UDP socket that hears `server` alone.
pub(crate) fn client(from: Option<IpAddr>, server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { "::1".parse().unwrap() };
    let socket = UdpSocket::bind((from.unwrap_or(any), 0)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// The next datagram, or none within `timeout`.
pub(crate) fn receive(socket: &UdpSocket, timeout: Duration) -> Option<Vec<u8>> {
    let mut buffer = [0; 65_535];
    socket.set_read_timeout(Some(timeout)).unwrap();
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => return Some(buffer[..length].to_vec()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("receiving: {error}"),
        }
    }
}

/// A TCP connection from a given address.
pub(crate) fn connect(from: Option<IpAddr>, server: SocketAddr) -> TcpStream {
    let Some(ip) = from else {
        return TcpStream::connect(server).unwrap();
    };
    let socket = socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

/// One message with its length in front (RFC 1035 §4.2.2), in one write.
pub(crate) fn write_frame(stream: &mut TcpStream, message: &[u8]) {
    let framed = [&(message.len() as u16).to_be_bytes()[..], message].concat();
    stream.write_all(&framed).unwrap();
}

/// The next message, or none where the peer closes or the read timeout passes.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}
