//! `recvmmsg` and `sendmmsg` of the benchmark's own: the bare responder is the floor that servers are compared with, so
//! it shares nothing with the library.

#![expect(unsafe_code, reason = "the standard library has no batched datagrams")]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams at once.
pub(crate) const BATCH: usize = 64;
/// Bytes of a datagram.
pub(crate) const MESSAGE_MAX: usize = 1232;

/// Buffers for a batch, IPv4 only.
pub(crate) struct Mmsg {
    bytes: Vec<[u8; MESSAGE_MAX]>,
    lens: [usize; BATCH],
    peers: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Places whose lengths the last call changed.
    used: usize,
}

impl Mmsg {
    pub(crate) fn new() -> Self {
        // SAFETY: all-zero sockaddr_in, iovec and mmsghdr are valid values.
        let (peer, part, header) = unsafe { std::mem::zeroed() };
        let mut batch = Self {
            bytes: vec![[0; MESSAGE_MAX]; BATCH],
            lens: [0; BATCH],
            peers: vec![peer; BATCH],
            parts: vec![part; BATCH],
            headers: vec![header; BATCH],
            used: BATCH,
        };
        // The vectors never grow: what is pointed to stays where it is.
        for index in 0..BATCH {
            batch.parts[index].iov_base = batch.bytes[index].as_mut_ptr().cast();
            let message = &mut batch.headers[index].msg_hdr;
            message.msg_iov = &raw mut batch.parts[index];
            message.msg_iovlen = 1;
            message.msg_name = (&raw mut batch.peers[index]).cast();
        }
        batch
    }

    /// Receives without waiting; gives how many datagrams came.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> usize {
        for index in 0..self.used {
            self.parts[index].iov_len = MESSAGE_MAX;
            self.headers[index].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the headers lead into vectors of `self` with their lengths, which live through the call.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as u32, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        self.used = usize::try_from(count).unwrap_or(0);
        for (len, header) in self.lens.iter_mut().zip(&self.headers).take(self.used) {
            *len = header.msg_len as usize;
        }
        self.used
    }

    /// The datagram at `index`.
    pub(crate) fn datagram(&self, index: usize) -> &[u8] {
        &self.bytes[index][..self.lens[index]]
    }

    /// Changes the datagram at `index` in place; the closure gives its new length.
    pub(crate) fn write(&mut self, index: usize, change: impl FnOnce(&mut [u8; MESSAGE_MAX], usize) -> usize) {
        self.lens[index] = change(&mut self.bytes[index], self.lens[index]).min(MESSAGE_MAX);
    }

    /// Sends the first `count` datagrams: back to their peers, or through a connected socket. Gives how many went.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, count: usize, to_peers: bool) -> usize {
        for index in 0..count {
            self.parts[index].iov_len = self.lens[index];
            if !to_peers {
                // A name of no bytes is none.
                self.headers[index].msg_hdr.msg_namelen = 0;
            }
        }
        self.used = self.used.max(count);
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
}
