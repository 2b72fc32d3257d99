//! Datagrams from upstreams: received with what the kernel knows of their way.
//!
//! A datagram that was put together from fragments is marked by the kernel (`IP_RECVFRAGSIZE`, Linux 4.14): later fragments
//! carry neither port nor message ID, so an attacker who can guess a fragment's 16-bit ID can replace their content.

#![expect(clippy::disallowed_types, reason = "the shell's sockets")]

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::{CONTROL_LEN, Control};

/// A datagram that was received into a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its length in bytes, as far as the buffer goes.
    pub len: usize,
    /// It fits into the buffer and came in one piece.
    pub is_intact: bool,
}

impl Arrived {
    /// What a receive wrote into `header` and the control data that belongs to it.
    pub(super) fn of(len: usize, header: &libc::msghdr, control: &Control) -> Self {
        let is_whole = header.msg_flags & libc::MSG_TRUNC == 0;
        let was_fragmented = matches!(
            control.kind(header.msg_controllen as _),
            Some((libc::IPPROTO_IP, libc::IP_RECVFRAGSIZE) | (libc::IPPROTO_IPV6, libc::IPV6_RECVFRAGSIZE))
        );
        Self { len, is_intact: is_whole && !was_fragmented }
    }
}

/// Receives one datagram into `buffer` without waiting; what does not fit is lost, and the datagram not intact.
///
/// # Errors
/// The socket's; `WouldBlock` where there is no datagram.
pub fn receive_datagram(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Arrived> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control::default();
    // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN as _;
    // SAFETY: the header's pointers lead to the part and the control data, which live through the call, and the part to
    // `buffer`, which is borrowed mutably; all have the lengths that are given.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    Ok(Arrived::of(len, &header, &control))
}

/// Has the kernel mark datagrams that came in fragments, and never fragment what leaves from the socket: queries are short,
/// so no path is too narrow, and a forged ICMP message about the path's MTU changes nothing (RFC 9715 §3). A kernel that
/// knows neither still carries queries.
pub(super) fn guard_against_fragments(socket: &UdpSocket, is_ipv4: bool) {
    let options: &[_] = if is_ipv4 {
        &[
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
            (libc::IPPROTO_IP, libc::IP_RECVFRAGSIZE, 1),
        ]
    } else {
        // No query is longer than the 1,280 bytes that every IPv6 path takes.
        &[(libc::IPPROTO_IPV6, libc::IPV6_RECVFRAGSIZE, 1)]
    };
    for &(level, option, value) in options {
        set_option(socket, level, option, value);
    }
}

fn set_option(socket: &UdpSocket, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the option takes an int, of which pointer and size are given; setsockopt only reads it.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::open_connected;

    #[test]
    fn a_datagram_that_does_not_fit_is_not_intact() {
        let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = open_connected(upstream.local_addr().unwrap(), None).unwrap();
        socket.set_nonblocking(false).unwrap();
        let mut buffer = [0; 8];
        for (len, is_intact) in [(0, true), (7, true), (8, true), (9, false), (9000, false)] {
            upstream.send_to(&vec![7; len], socket.local_addr().unwrap()).unwrap();
            socket.peek(&mut [0; 1]).unwrap();
            let arrived = receive_datagram(socket.as_fd(), &mut buffer).unwrap();
            assert_eq!(arrived, Arrived { len: len.min(8), is_intact }, "{len} bytes");
        }
        let nothing = receive_datagram(socket.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
}
