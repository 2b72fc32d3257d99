//! Many datagrams a system call: `recvmmsg` in, `sendmmsg` out.
//!
//! A [`Batch`] is laid out once. The peer's address and the packet info that came with a datagram are used in place for
//! its reply; per batch only lengths are set again.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::{CONTROL_LEN, Control, LocalAddress, peer_of};
use super::send_queue::send_all;

/// Datagrams that are received at once.
pub const BATCH: usize = 64;
/// Datagrams that are received at once where few came the last time: making room for more writes to memory that nothing needs.
const FEW: usize = 8;
/// Where they come one by one, how often it is looked whether there are more by now: a look in vain costs half of a receive.
const LOOK_EVERY: u32 = 8;
/// Bytes of a datagram that are received; no query that can be answered is longer.
const DATAGRAM_MAX: usize = 4096;
/// From one datagram's place to the next: a line more, for places a whole page apart would share the same few sets of
/// the processor's cache and push each other out.
const STRIDE: usize = DATAGRAM_MAX + 64;
/// Bytes of a reply that fit without growing its buffer.
const REPLY_CAPACITY: usize = 1280;

/// Buffers for a batch of datagrams and their replies.
pub struct Batch {
    bytes: Box<[u8]>,
    peers: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    /// Each leads to its buffer: the buffers never move.
    _parts: Box<[libc::iovec]>,
    /// Each leads to its peer, its control data and its part.
    received: Box<[libc::mmsghdr]>,
    /// How many of these the kernel wrote to the last time.
    used: usize,
    replies: Vec<Vec<u8>>,
    reply_parts: Box<[libc::iovec]>,
    to_send: Vec<libc::mmsghdr>,
    /// Which datagram each header of `to_send` replies to.
    sent_for: Vec<usize>,
    /// Whether replies must say which address they leave from: the socket is bound to all.
    with_local_address: bool,
    /// How many datagrams are received the next time.
    room: usize,
    /// The last time there were as many as there was room for.
    may_have_more: bool,
    /// How often, one after the other, there was no more than one.
    lone_in_row: u32,
}

/// A datagram that was received.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'b> {
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address it was sent to, where the socket is bound to all.
    pub local: Option<LocalAddress>,
}

/// What was received.
#[derive(Clone, Copy)]
pub struct Datagrams<'b> {
    bytes: &'b [u8],
    peers: &'b [libc::sockaddr_storage],
    controls: &'b [Control],
    received: &'b [libc::mmsghdr],
    with_local_address: bool,
}

impl<'b> Datagrams<'b> {
    /// The datagram at `index`; nothing when its sender cannot be answered.
    pub fn at(self, index: usize) -> Option<Datagram<'b>> {
        let header = self.received.get(index)?;
        let start = index * STRIDE;
        let bytes = self.bytes.get(start..start + (header.msg_len as usize).min(DATAGRAM_MAX))?;
        let peer = peer_of(self.peers.get(index)?)?;
        let local = if self.with_local_address {
            LocalAddress::read(self.controls.get(index)?, header.msg_hdr.msg_controllen as _)
        } else {
            None
        };
        Some(Datagram { bytes, peer, local })
    }
}

impl Batch {
    /// A batch for a socket; `with_local_address` where it is bound to all addresses and reports packet info.
    pub fn new(with_local_address: bool) -> Self {
        // SAFETY: all-zero sockaddr_storage, iovec and mmsghdr are valid: no family, null pointers, zero lengths.
        let (peer, part, header): (libc::sockaddr_storage, libc::iovec, libc::mmsghdr) = unsafe { mem::zeroed() };
        let mut bytes = vec![0; BATCH * STRIDE].into_boxed_slice();
        let mut peers = vec![peer; BATCH].into_boxed_slice();
        let mut controls = vec![Control([0; CONTROL_LEN]); BATCH].into_boxed_slice();
        let mut parts = vec![part; BATCH].into_boxed_slice();
        let mut received = vec![header; BATCH].into_boxed_slice();
        let places = peers.iter_mut().zip(&mut controls).zip(bytes.chunks_exact_mut(STRIDE)).zip(&mut parts);
        for ((((peer, control), buffer), part), header) in places.zip(&mut received) {
            part.iov_base = buffer.as_mut_ptr().cast();
            part.iov_len = DATAGRAM_MAX;
            let message = &mut header.msg_hdr;
            message.msg_name = (&raw mut *peer).cast();
            message.msg_iov = part;
            message.msg_iovlen = 1;
            if with_local_address {
                message.msg_control = control.0.as_mut_ptr().cast();
            }
        }
        Self {
            bytes,
            peers,
            controls,
            _parts: parts,
            received,
            used: BATCH,
            replies: (0..BATCH).map(|_| Vec::with_capacity(REPLY_CAPACITY)).collect(),
            reply_parts: vec![part; BATCH].into_boxed_slice(),
            to_send: Vec::with_capacity(BATCH),
            sent_for: Vec::with_capacity(BATCH),
            with_local_address,
            room: FEW,
            may_have_more: false,
            lone_in_row: 0,
        }
    }

    /// Whether the socket may have more than was received: there were as many datagrams as there was room for.
    pub fn may_have_more(&self) -> bool {
        self.may_have_more
    }

    /// Receives what is there, at most [`BATCH`] datagrams, without waiting; gives how many.
    ///
    /// # Errors
    /// That of the system; `WouldBlock` where there is no datagram.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.receive_by(socket, self.room, libc::MSG_DONTWAIT)
    }

    /// The same, but waits for the first datagram as long as the socket's own timeout says (`SO_RCVTIMEO`). Where they come one by one,
    /// what there may be behind it is looked for every now and then only.
    ///
    /// # Errors
    /// As for [`Self::receive`], at the end of that time; `Interrupted` after a signal.
    pub fn wait(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let room = if self.lone_in_row.is_multiple_of(LOOK_EVERY) { self.room } else { 1 };
        self.receive_by(socket, room, libc::MSG_WAITFORONE)
    }

    fn receive_by(&mut self, socket: BorrowedFd<'_>, room: usize, flags: libc::c_int) -> io::Result<usize> {
        let room = room.min(BATCH);
        for header in self.received.iter_mut().take(self.used) {
            let message = &mut header.msg_hdr;
            message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_controllen = if self.with_local_address { CONTROL_LEN as _ } else { 0 };
            message.msg_flags = 0;
        }
        // SAFETY: every header's pointers lead into peers, controls, parts and buffers owned by `self`, which never move, and
        // have their lengths; nothing else uses them meanwhile, for `self` is borrowed mutably. The kernel changes no pointer.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.received.as_mut_ptr(),
                room as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error());
        let received = *count.as_ref().unwrap_or(&0);
        // The one after the last was looked for in vain, and may have been written to.
        self.used = (received + 1).min(room);
        self.may_have_more = received == room;
        self.lone_in_row = if received > 1 { 0 } else { self.lone_in_row.wrapping_add(1) };
        self.room = if received > FEW / 2 { BATCH } else { FEW };
        count
    }

    /// What was received last, and the buffers for the replies to it, in the same order.
    pub fn split(&mut self) -> (Datagrams<'_>, &mut [Vec<u8>]) {
        let Self { bytes, peers, controls, received, with_local_address, replies, .. } = self;
        (Datagrams { bytes, peers, controls, received, with_local_address: *with_local_address }, replies)
    }

    /// Sends the replies to the first `count` datagrams that have one (a buffer that is not empty); calls `unsent` with
    /// the index of each that could not be sent.
    pub fn send(&mut self, socket: BorrowedFd<'_>, count: usize, mut unsent: impl FnMut(usize)) {
        self.to_send.clear();
        self.sent_for.clear();
        let pieces =
            self.received.iter().zip(&self.replies).zip(self.reply_parts.iter_mut()).zip(self.controls.iter_mut());
        for (index, (((header, reply), part), control)) in pieces.take(count).enumerate() {
            if reply.is_empty() {
                continue;
            }
            part.iov_base = reply.as_ptr().cast_mut().cast();
            part.iov_len = reply.len();
            let mut header = *header;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_flags = 0;
            let control_len = header.msg_hdr.msg_controllen as _;
            match LocalAddress::read(control, control_len).filter(|_| self.with_local_address) {
                Some(local) => header.msg_hdr.msg_controllen = local.write(control) as _,
                None => {
                    header.msg_hdr.msg_control = std::ptr::null_mut();
                    header.msg_hdr.msg_controllen = 0;
                }
            }
            self.to_send.push(header);
            self.sent_for.push(index);
        }
        let sent_for = &self.sent_for;
        // SAFETY: the headers' pointers lead to peers, controls and replies owned by `self`, which is borrowed through the
        // call and changes none of them meanwhile.
        unsafe {
            send_all(socket, &mut self.to_send, |at| sent_for.get(at).copied().into_iter().for_each(&mut unsent))
        };
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the tests of the shell use sockets")]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_batch_is_received_and_answered() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        for n in 0..5u8 {
            client.send(&[n; 20]).unwrap();
        }
        let mut batch = Batch::new(false);
        let count = batch.receive(server.as_fd()).unwrap();
        assert_eq!(count, 5);
        for index in 0..count {
            let (datagrams, replies) = batch.split();
            let (datagram, reply) = (datagrams.at(index).unwrap(), &mut replies[index]);
            assert_eq!(datagram.peer, client.local_addr().unwrap());
            reply.clear();
            if index != 2 {
                reply.extend_from_slice(&[datagram.bytes[0] + 100]);
            }
        }
        batch.send(server.as_fd(), count, |index| panic!("reply {index} was not sent"));
        let mut got = Vec::new();
        for _ in 0..4 {
            let mut buffer = [0; 10];
            assert_eq!(client.recv(&mut buffer).unwrap(), 1);
            got.push(buffer[0]);
        }
        assert_eq!(got, [100, 101, 103, 104]);
        let nothing = batch.receive(server.as_fd()).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
}
