//! Datagrams that belong together without having come together: replies to those who waited, and what upstreams say.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockAddr;

use super::arrival::Arrived;
use super::control::{CONTROL_LEN, Control, LocalAddress};

/// Replies that are sent with one system call.
pub const GATHER: usize = 64;
/// Datagrams that are read from one socket with one system call.
const READS: usize = 64;

/// Replies that leave from the same socket, at most [`GATHER`].
pub struct SendQueue {
    replies: Vec<Reply>,
    /// How many of `replies` are in use: their buffers stay.
    len: usize,
    /// How many were sent last.
    sent: usize,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

struct Reply {
    bytes: Vec<u8>,
    peer: SockAddr,
    control: Control,
    control_len: usize,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self {
            replies: Vec::new(),
            len: 0,
            sent: 0,
            parts: Vec::with_capacity(GATHER),
            headers: Vec::with_capacity(GATHER),
        }
    }
}

impl SendQueue {
    /// Whether it must be sent before more fits in.
    pub fn is_full(&self) -> bool {
        self.len >= GATHER
    }

    /// Adds a reply to `peer`, from `local` where that is given.
    pub fn push(&mut self, bytes: &[u8], peer: SocketAddr, local: Option<LocalAddress>) {
        if self.len == self.replies.len() {
            let control = Control::default();
            self.replies.push(Reply { bytes: Vec::new(), peer: peer.into(), control, control_len: 0 });
        }
        if let Some(reply) = self.replies.get_mut(self.len) {
            reply.bytes.clear();
            reply.bytes.extend_from_slice(bytes);
            reply.peer = peer.into();
            reply.control_len = local.map_or(0, |local| local.write(&mut reply.control));
            self.len += 1;
        }
    }

    /// What was sent last, in the order in which it was added.
    pub fn sent(&self) -> impl Iterator<Item = &[u8]> {
        self.replies.iter().take(self.sent).map(|reply| &*reply.bytes)
    }

    /// Sends all that was added, and forgets it; calls `unsent` with the index of each that could not be sent.
    pub fn send(&mut self, socket: BorrowedFd<'_>, unsent: impl FnMut(usize)) {
        self.parts.clear();
        self.headers.clear();
        let replies = self.replies.get_mut(..self.len).unwrap_or_default();
        self.parts.extend(
            replies.iter().map(|reply| libc::iovec {
                iov_base: reply.bytes.as_ptr().cast_mut().cast(),
                iov_len: reply.bytes.len(),
            }),
        );
        for (reply, part) in replies.iter_mut().zip(&mut self.parts) {
            // SAFETY: an all-zero mmsghdr is valid: null pointers with zero lengths.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = reply.peer.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = reply.peer.len();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            if reply.control_len > 0 {
                header.msg_hdr.msg_control = reply.control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = reply.control_len as _;
            }
            self.headers.push(header);
        }
        // SAFETY: the headers' pointers lead to peers, controls, bytes and parts owned by `self`, which is borrowed
        // through the call and changes none of them meanwhile.
        unsafe { send_all(socket, &mut self.headers, unsent) };
        // No pointer outlives the call.
        self.headers.clear();
        (self.sent, self.len) = (self.len, 0);
    }
}

/// Sends all messages without waiting; calls `unsent` with the index of each that cannot be sent.
///
/// # Safety
/// The headers' pointers lead to memory that is theirs, of the lengths they say, through the call.
pub(super) unsafe fn send_all(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr], mut unsent: impl FnMut(usize)) {
    if let [alone] = headers {
        // SAFETY: as the caller promises.
        if !unsafe { send_one(socket, &alone.msg_hdr) } {
            unsent(0);
        }
        return;
    }
    let mut from = 0;
    while let Some(left) = headers.get_mut(from..).filter(|left| !left.is_empty()) {
        // SAFETY: as the caller promises; sendmmsg writes only the lengths in the headers.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                left.as_mut_ptr(),
                left.len() as libc::c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => from += sent,
            // The first of them cannot be sent: no route, no buffer space, a firewall. The others are tried.
            _ => {
                unsent(from);
                from += 1;
            }
        }
    }
}

/// Sends one message without waiting; whether it was sent. A datagram of one part without control data, as nearly all are that
/// come alone, goes by the call that has least to copy.
///
/// # Safety
/// As for [`send_all`].
unsafe fn send_one(socket: BorrowedFd<'_>, message: &libc::msghdr) -> bool {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if message.msg_iovlen != 1 || !message.msg_control.is_null() {
        // SAFETY: as the caller promises; sendmsg writes nothing.
        return unsafe { libc::sendmsg(socket.as_raw_fd(), message, flags) } >= 0;
    }
    // SAFETY: as the caller promises: there is one part, whose bytes and the peer's address are only read. No address, where
    // the socket is connected, is a null pointer of length zero.
    let sent = unsafe {
        let part = &*message.msg_iov;
        libc::sendto(
            socket.as_raw_fd(),
            part.iov_base,
            part.iov_len,
            flags,
            message.msg_name.cast(),
            message.msg_namelen,
        )
    };
    sent >= 0
}

/// Room for what a connected socket has to read.
pub struct Inbox {
    bytes: Box<[u8]>,
    /// Bytes of a buffer.
    largest: usize,
    /// Each leads to its buffer: the buffers never move.
    _parts: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    /// Each leads to its part and its control data.
    headers: Box<[libc::mmsghdr]>,
    /// How many of these the kernel wrote to the last time.
    used: usize,
}

impl Inbox {
    /// Datagrams that fit.
    pub const ROOM: usize = READS;

    /// Buffers for datagrams of at most `largest` bytes; what is longer is not intact.
    pub fn new(largest: usize) -> Self {
        let mut bytes = vec![0; READS * largest].into_boxed_slice();
        let mut controls = vec![Control::default(); READS].into_boxed_slice();
        let mut parts: Box<[libc::iovec]> = bytes
            .chunks_exact_mut(largest.max(1))
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: largest })
            .collect();
        let headers = parts
            .iter_mut()
            .zip(&mut controls)
            .map(|(part, control)| {
                // SAFETY: an all-zero mmsghdr is valid: null pointers with zero lengths.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_iov = part;
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header
            })
            .collect();
        Self { bytes, largest, _parts: parts, controls, headers, used: READS }
    }

    /// Reads without waiting, at most `room` datagrams and no more than [`Self::ROOM`]. Where it returns fewer, the socket has no more.
    /// Returns each datagram, and whether it is intact.
    ///
    /// # Errors
    /// The socket's; that there is nothing to read among them.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        room: usize,
    ) -> io::Result<impl ExactSizeIterator<Item = (&[u8], bool)>> {
        let room = room.min(READS);
        for header in self.headers.iter_mut().take(self.used) {
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        // SAFETY: every header's pointers lead into parts, buffers and control data owned by `self`, which never move, and
        // have their lengths; nothing else uses them meanwhile, for `self` is borrowed mutably. The kernel changes no
        // pointer.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                room as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error());
        // The one after the last was looked for in vain: what was written to it then does not matter.
        self.used = count.as_ref().map_or(1, |count| (count + 1).min(room));
        let count = count?;
        let datagrams = self.headers.iter().zip(&self.controls).zip(self.bytes.chunks_exact(self.largest.max(1)));
        Ok(datagrams.take(count).map(|((header, control), buffer)| {
            let arrived = Arrived::of(header.msg_len as usize, &header.msg_hdr, control);
            (buffer.get(..arrived.len).unwrap_or(buffer), arrived.is_intact)
        }))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the tests of the shell use sockets")]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_gathered_arrives() {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let receivers: Vec<_> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut gathered = SendQueue::default();
        for round in 0..2u8 {
            for (number, receiver) in receivers.iter().enumerate() {
                receiver.connect(sender.local_addr().unwrap()).unwrap();
                gathered.push(&[round, number as u8], receiver.local_addr().unwrap(), None);
            }
            gathered.send(sender.as_fd(), |index| panic!("reply {index} was not sent"));
        }
        let mut inbox = Inbox::new(1500);
        for (number, receiver) in receivers.iter().enumerate() {
            let got: Vec<_> =
                inbox.receive(receiver.as_fd(), Inbox::ROOM).unwrap().map(|(bytes, _)| bytes.to_vec()).collect();
            assert_eq!(got, [[0, number as u8], [1, number as u8]]);
            let nothing = inbox.receive(receiver.as_fd(), Inbox::ROOM).map(|datagrams| datagrams.len()).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        }
        // An address that nothing can be sent to costs only its own reply.
        gathered.push(b"x", "255.255.255.255:9".parse().unwrap(), None);
        gathered.push(b"y", receivers[0].local_addr().unwrap(), None);
        let mut unsent = Vec::new();
        gathered.send(sender.as_fd(), |index| unsent.push(index));
        assert_eq!(unsent, [0]);
        let got: Vec<_> =
            inbox.receive(receivers[0].as_fd(), Inbox::ROOM).unwrap().map(|(bytes, _)| bytes.to_vec()).collect();
        assert_eq!(got, [b"y"]);
    }
}
