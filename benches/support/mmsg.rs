//! `recvmmsg` and `sendmmsg` of the benchmark's own: the bare responder is the floor that servers are compared with, so
//! it shares nothing with the library.

#![expect(unsafe_code, reason = "the standard library has no batched datagrams")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams at once.
pub(crate) const BATCH: usize = 64;
/// Octets of a datagram.
pub(crate) const OCTETS: usize = 1232;

/// Buffers for a batch, IPv4 only.
pub(crate) struct Mmsg {
    octets: Vec<[u8; OCTETS]>,
    lens: [usize; BATCH],
    peers: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Mmsg {
    pub(crate) fn new() -> Self {
        // SAFETY: all-zero sockaddr_in, iovec and mmsghdr are valid values.
        let (peer, part, header) = unsafe { std::mem::zeroed() };
        Self {
            octets: vec![[0; OCTETS]; BATCH],
            lens: [0; BATCH],
            peers: vec![peer; BATCH],
            parts: vec![part; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Receives without waiting; gives how many datagrams came.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> usize {
        self.lens = [OCTETS; BATCH];
        self.point(BATCH, true);
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the headers lead into vectors of `self` with their lengths, which live through the call.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as u32, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        let count = usize::try_from(count).unwrap_or(0);
        for (len, header) in self.lens.iter_mut().zip(&self.headers).take(count) {
            *len = header.msg_len as usize;
        }
        count
    }

    /// The datagram at `index`.
    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        &self.octets[index][..self.lens[index]]
    }

    /// Changes the datagram at `index` in place; the closure gives its new length.
    pub(crate) fn write(&mut self, index: usize, change: impl FnOnce(&mut [u8; OCTETS], usize) -> usize) {
        self.lens[index] = change(&mut self.octets[index], self.lens[index]).min(OCTETS);
    }

    /// Sends the first `count` datagrams: back to their peers, or through a connected socket. Gives how many went.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, count: usize, to_peers: bool) -> usize {
        self.point(count, to_peers);
        let mut sent = 0;
        while sent < count {
            let (headers, left) = (self.headers[sent..count].as_mut_ptr(), (count - sent) as u32);
            // SAFETY: as above; `headers` are `left` initialized ones.
            let went = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, left, 0) };
            match usize::try_from(went) {
                Ok(went) if went > 0 => sent += went,
                _ => break,
            }
        }
        sent
    }

    fn point(&mut self, count: usize, with_peers: bool) {
        for index in 0..count {
            self.parts[index] =
                libc::iovec { iov_base: self.octets[index].as_mut_ptr().cast(), iov_len: self.lens[index] };
            let message = &mut self.headers[index].msg_hdr;
            message.msg_iov = &raw mut self.parts[index];
            message.msg_iovlen = 1;
            message.msg_name = if with_peers { (&raw mut self.peers[index]).cast() } else { std::ptr::null_mut() };
            message.msg_namelen = if with_peers { size_of::<libc::sockaddr_in>() as u32 } else { 0 };
        }
    }
}
