//! Sockets with the options that this server needs.

#![expect(clippy::disallowed_types, reason = "the shell opens sockets")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::arrival::guard_against_fragments;

/// Bytes of receive buffer asked for: room for a burst while a worker is busy.
pub const RECEIVE_BUFFER: usize = 4 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A bound datagram socket.
pub struct Bound {
    /// The socket, not blocking.
    pub socket: UdpSocket,
    /// Whether it is bound to all addresses and reports which one a datagram came to.
    pub with_local_address: bool,
}

/// Binds a datagram socket that shares its address with others of this process (`SO_REUSEPORT`).
pub fn bind_datagram(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, address)?;
    socket.set_reuse_port(true)?;
    // The kernel gives what its limit allows; less is no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let with_local_address = address.ip().is_unspecified();
    if with_local_address {
        report_local_address(&socket, address.ip())?;
    }
    socket.bind(&address.into())?;
    Ok(Bound { socket: socket.into(), with_local_address })
}

/// Binds a listening stream socket; where `shared`, it shares its address with others of this process.
pub fn bind_stream(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket, address)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a bound datagram socket of another process one of ours.
pub fn adopt_datagram(socket: &UdpSocket) -> io::Result<()> {
    let address = socket.local_addr()?;
    let socket = socket2::SockRef::from(socket);
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    if address.ip().is_unspecified() {
        report_local_address(&socket, address.ip())?;
    }
    Ok(())
}

/// Binds a listening stream socket that does not share its address.
pub fn bind_stream_alone(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket, address)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a datagram socket connected to `upstream`, so that the kernel gives it nothing but that peer's datagrams: from
/// `port`, which it keeps for good, or from one that the kernel draws.
///
/// # Errors
/// `AddrInUse` where another process has the port, and others of the system.
pub fn open_connected(upstream: SocketAddr, port: Option<u16>) -> io::Result<UdpSocket> {
    let socket =
        Socket::new_raw(Domain::for_address(upstream), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if let Some(port) = port {
        let any: IpAddr = if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(any, port).into())?;
    }
    let socket = UdpSocket::from(socket);
    guard_against_fragments(&socket, upstream.is_ipv4());
    socket.connect(upstream)?;
    Ok(socket)
}

/// Whether the kernel has the protocol family of an address: without IPv6, not even a socket for it can be made.
pub fn has_family(address: SocketAddr) -> bool {
    let made = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP));
    !made.is_err_and(|error| error.raw_os_error() == Some(libc::EAFNOSUPPORT))
}

fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(())
}

fn report_local_address(socket: &Socket, address: IpAddr) -> io::Result<()> {
    let (level, option) = match address {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, of which pointer and size are given; setsockopt only reads it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
