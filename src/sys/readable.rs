//! Waiting in the runtime until a descriptor is readable.

#![expect(clippy::disallowed_types, reason = "the shell waits for sockets")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What becomes readable when `fd` does, on the runtime that this is called in.
pub fn readable(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let own = fd.try_clone_to_owned()?;
    // SAFETY: the AsyncFd owns a descriptor of its own, which stays open and the same until it is dropped.
    unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) }.map_err(io::Error::from)
}

/// The same for a socket, without a descriptor more: connections may have taken all that there are.
pub fn readable_socket(socket: Arc<UdpSocket>) -> io::Result<AsyncFd<Arc<UdpSocket>>> {
    // SAFETY: the AsyncFd shares the socket, which is not closed before it is dropped, and whose descriptor never changes.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::from)
}
