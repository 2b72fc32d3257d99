//! Several messages from one connected socket, for as little as can be.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::{Control, write_segment_size};
use super::send_queue::send_all;

/// Messages of one size that the kernel takes as one (`UDP_MAX_SEGMENTS` of its older versions).
const SEGMENTS_MAX: usize = 64;
/// Bytes of them: what fits into a datagram.
const SEGMENTED_MAX: usize = 65_000;

/// Sends several messages from a connected socket with one system call.
///
/// Messages of one size that follow each other, and a shorter one behind them, go through the kernel's network stack as
/// one, and are datagrams of their own again at its end (`UDP_SEGMENT`, Linux 4.18): the way through the stack is most of
/// what a small datagram costs.
#[derive(Default)]
pub struct SegmentedSend {
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    runs: Vec<Run>,
    support: Support,
}

/// Messages that go as one.
#[derive(Clone, Copy)]
struct Run {
    /// The first of them.
    start: usize,
    count: usize,
    control: Control,
    control_len: usize,
}

/// Whether the kernel, and the interface that the messages leave by, can do that.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Support {
    #[default]
    Unknown,
    Yes,
    No,
}

impl SegmentedSend {
    /// Sends all without waiting; calls `unsent` with the index of each that could not be sent, and why. The longest
    /// should come first.
    pub fn send<'m>(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: impl IntoIterator<Item = &'m [u8]>,
        unsent: impl FnMut(usize, &io::Error),
    ) {
        if self.support == Support::Unknown {
            self.support = if knows_segments(socket) { Support::Yes } else { Support::No };
        }
        self.parts.clear();
        self.parts.extend(
            messages
                .into_iter()
                .map(|message| libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() }),
        );
        self.find_runs();
        self.send_found(socket, unsent);
        // No pointer outlives the call.
        self.parts.clear();
        self.runs.clear();
    }

    /// Sends the runs that were found; the messages of one that is refused, one by one.
    fn send_found(&mut self, socket: BorrowedFd<'_>, mut unsent: impl FnMut(usize, &io::Error)) {
        let mut refused = Vec::new();
        self.send_runs(socket, |run, error| refused.push((run, error)));
        for (run, error) in refused {
            let Run { start, count, .. } = run;
            if count == 1 {
                unsent(start, &error);
                continue;
            }
            // An interface that computes no checksums, or messages that are too large for its MTU.
            if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)) {
                self.support = Support::No;
            }
            self.runs = (start..start + count).map(Run::of_one).collect();
            self.send_runs(socket, |run, error| unsent(run.start, &error));
        }
    }

    /// Finds out which messages go as one: those of one size, and a shorter one behind them.
    fn find_runs(&mut self) {
        self.runs.clear();
        let mut start = 0;
        while let Some(first) = self.parts.get(start).map(|part| part.iov_len) {
            let most = match self.support {
                Support::Yes => (SEGMENTED_MAX / first.max(1)).clamp(1, SEGMENTS_MAX),
                Support::Unknown | Support::No => 1,
            };
            let following = self.parts.iter().skip(start).take(most);
            let alike = following.take_while(|part| part.iov_len == first).count();
            let shorter = self.parts.get(start + alike).is_some_and(|part| part.iov_len < first);
            let count = alike + usize::from(shorter && alike < most);
            self.runs.push(Run::new(start, count, first));
            start += count;
        }
    }

    fn send_runs(&mut self, socket: BorrowedFd<'_>, mut refused: impl FnMut(Run, io::Error)) {
        self.headers.clear();
        for run in &mut self.runs {
            let Some(parts) = self.parts.get_mut(run.start..run.start + run.count) else { continue };
            // SAFETY: an all-zero mmsghdr is valid: null pointers with zero lengths.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = parts.as_mut_ptr();
            header.msg_hdr.msg_iovlen = parts.len() as _;
            if run.control_len > 0 {
                header.msg_hdr.msg_control = run.control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = run.control_len as _;
            }
            self.headers.push(header);
        }
        let runs = &self.runs;
        // SAFETY: the headers' pointers lead to the parts and the control data of the runs, which `self` owns, and the
        // parts lead to the messages, which the caller has borrowed; nothing changes any of them meanwhile.
        unsafe {
            send_all(socket, &mut self.headers, |index| {
                let error = io::Error::last_os_error();
                if let Some(run) = runs.get(index) {
                    refused(*run, error);
                }
            });
        }
        self.headers.clear();
    }
}

impl Run {
    fn new(start: usize, count: usize, len: usize) -> Self {
        let mut run = Self::of_one(start);
        if let (2.., Ok(len)) = (count, u16::try_from(len)) {
            run.count = count;
            run.control_len = write_segment_size(len, &mut run.control);
        }
        run
    }

    fn of_one(start: usize) -> Self {
        Self { start, count: 1, control: Control::default(), control_len: 0 }
    }
}

/// Whether the kernel knows the option at all: one that does not would send many messages as one.
fn knows_segments(socket: BorrowedFd<'_>) -> bool {
    let (mut value, mut len) = (0 as libc::c_int, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: `value` and `len` are valid for writes of the sizes that `len` and the interface say, through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    result == 0
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "the tests of the shell use sockets")]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::super::send_queue::Inbox;
    use super::*;

    fn arrives(volley: &mut SegmentedSend, messages: &[Vec<u8>]) {
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        volley.send(sender.as_fd(), messages.iter().map(Vec::as_slice), |index, error| panic!("{index}: {error}"));
        let mut inbox = Inbox::new(65_535);
        let mut got = Vec::new();
        while got.len() < messages.len() {
            got.extend(inbox.receive(receiver.as_fd(), Inbox::ROOM).unwrap().map(|(bytes, _)| bytes.to_vec()));
        }
        assert_eq!(got, messages);
    }

    #[test]
    fn a_volley_arrives_in_its_order() {
        let one_of_each: Vec<Vec<u8>> = (1..=80).map(|len| vec![len; usize::from(len)]).collect();
        let in_runs: Vec<Vec<u8>> = (1..=150).map(|number| vec![number; 90 - usize::from(number / 7)]).collect();
        for support in [Support::Unknown, Support::Yes, Support::No] {
            for messages in [&one_of_each, &in_runs] {
                arrives(&mut SegmentedSend { support, ..SegmentedSend::default() }, messages);
            }
        }
    }

    #[test]
    fn messages_of_one_size_and_a_shorter_one_go_as_one() {
        let runs = |support, sizes: &[usize]| {
            let part = |&iov_len: &usize| libc::iovec { iov_base: std::ptr::null_mut(), iov_len };
            let mut volley =
                SegmentedSend { support, parts: sizes.iter().map(part).collect(), ..SegmentedSend::default() };
            volley.find_runs();
            volley.runs.iter().map(|run| run.count).collect::<Vec<_>>()
        };
        assert_eq!(runs(Support::Yes, &[9, 9, 9, 8, 8, 7, 6, 6]), [4, 2, 2]);
        assert_eq!(runs(Support::Yes, &[7, 8, 9, 9]), [1, 1, 2]);
        assert_eq!(runs(Support::Yes, &[9; SEGMENTS_MAX + 3]), [SEGMENTS_MAX, 3]);
        assert_eq!(runs(Support::Yes, &[[40; SEGMENTS_MAX].as_slice(), &[30]].concat()), [SEGMENTS_MAX, 1]);
        assert_eq!(runs(Support::Yes, &[60_000, 60_000, 10]), [1, 1, 1]);
        assert_eq!(runs(Support::No, &[9, 9, 8]), [1, 1, 1]);
        assert_eq!(runs(Support::Yes, &[]), [0usize; 0]);
    }

    #[test]
    fn a_run_that_is_refused_is_sent_one_by_one() {
        // Together they are more than a datagram may hold, which no run that is found is: the kernel refuses them.
        let mut volley = SegmentedSend { support: Support::Yes, ..SegmentedSend::default() };
        let large: Vec<Vec<u8>> = (0..2).map(|number| vec![number; 33_000]).collect();
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        volley.parts = large
            .iter()
            .map(|message| libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() })
            .collect();
        volley.runs = vec![Run::new(0, 2, 33_000)];
        volley.send_found(sender.as_fd(), |index, error| panic!("{index}: {error}"));
        assert!(volley.support == Support::No);
        let mut inbox = Inbox::new(65_535);
        let mut got = Vec::new();
        while got.len() < large.len() {
            got.extend(inbox.receive(receiver.as_fd(), Inbox::ROOM).unwrap().map(|(bytes, _)| bytes.to_vec()));
        }
        assert_eq!(got, large);
    }
}
