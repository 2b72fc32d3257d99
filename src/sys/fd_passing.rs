//! Descriptors over Unix sockets (`SCM_RIGHTS`), one message a descriptor, so that message and descriptor stay together.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with, sockopt,
};

/// Bytes of a message.
const MESSAGE_MAX: usize = 256;
/// Who may wait to be accepted.
const BACKLOG: i32 = 4;
/// Descriptors of one message to a service manager; the kernel takes 253.
const AT_ONCE: usize = 128;

/// A socket over which messages with descriptors go.
#[derive(Debug)]
pub struct FdSocket(OwnedFd);

impl FdSocket {
    /// Listens at `path`, in place of the process that did before: one always listens.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen(path: &Path) -> io::Result<Self> {
        let socket = new(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = Path::new(&beside);
        let _ = std::fs::remove_file(beside);
        bind(&socket, &SocketAddrUnix::new(beside)?)?;
        listen(&socket, BACKLOG)?;
        std::fs::rename(beside, path)?;
        Ok(Self(socket))
    }

    /// Connects to the process that listens at `path`, whose user must be this process's, root, or `also`, the one that this
    /// process will become; waits at most `timeout` for each message.
    ///
    /// # Errors
    /// Those of the system; `PermissionDenied` where another user listens.
    pub fn connect(path: &Path, timeout: Duration, also: Option<u32>) -> io::Result<Self> {
        let socket = new(SocketFlags::CLOEXEC)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        known_peer(&socket, also)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(timeout))?;
        Ok(Self(socket))
    }

    /// Accepts one connection, not blocking; its peer's user must be this process's, or root.
    ///
    /// # Errors
    /// `WouldBlock` when no process is there; `PermissionDenied` for others.
    pub fn accept(&self) -> io::Result<Self> {
        let accepted = accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        known_peer(&accepted, None)?;
        Ok(Self(accepted))
    }

    /// Sends a message, with a descriptor where one is given.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&self.0, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives a message and the descriptor that came with it; an empty message says that the other end is closed.
    ///
    /// # Errors
    /// Those of the system.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut bytes = [0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((bytes.get(..received.bytes).unwrap_or_default().to_vec(), descriptor))
    }
}

/// Sends `message` with `descriptors`, in as many datagrams as it takes, to the Unix socket at `path`, or of the abstract
/// name behind an `@`.
///
/// # Errors
/// Those of the system.
pub fn send_descriptors(path: &Path, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let address = match path.as_os_str().as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        _ => SocketAddrUnix::new(path)?,
    };
    connect(&socket, &address)?;
    for descriptors in descriptors.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

impl AsFd for FdSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The user at the other end must be this process's, or root: sockets are taken from no other, and given to no other.
/// Of a socket that listens, the kernel says who began to listen.
fn known_peer(socket: &OwnedFd, also: Option<u32>) -> io::Result<()> {
    let peer = sockopt::socket_peercred(socket)?.uid;
    if is_known(peer.as_raw(), rustix::process::geteuid().as_raw(), also) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("the process there is of another user ({})", peer.as_raw()),
    ))
}

fn is_known(peer: u32, own: u32, also: Option<u32>) -> bool {
    peer == 0 || peer == own || also == Some(peer)
}

fn new(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_passed_between_processes_of_one_user() {
        assert!(is_known(0, 1000, None) && is_known(1000, 1000, None) && is_known(0, 0, None));
        assert!(!is_known(65_534, 0, None), "root takes nothing from a stranger");
        assert!(is_known(65_534, 0, Some(65_534)), "but from the user that it will become");
        assert!(!is_known(1001, 1000, None));
    }

    /// Has this thread alone act as another user, as `seteuid` does for all threads.
    fn act_as(uid: libc::uid_t) {
        let keep = libc::uid_t::MAX;
        // SAFETY: the system call takes numbers alone, and changes the calling thread's credentials alone.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, keep, uid, keep) }, 0);
    }

    #[test]
    fn neither_end_has_to_do_with_another_users_process() {
        const STRANGER: libc::uid_t = 65_534;
        if !rustix::process::geteuid().is_root() {
            return eprintln!("not root: left out");
        }
        let dir = std::env::temp_dir().join(format!("pldns-strangers-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let path = dir.join("socket");
        let as_stranger = |call: &(dyn Fn() -> io::Result<FdSocket> + Sync)| {
            let act = || {
                act_as(STRANGER);
                let socket = call();
                act_as(0);
                socket
            };
            std::thread::scope(|scope| scope.spawn(act).join().unwrap())
        };
        let limit = Duration::from_secs(5);
        let strangers = as_stranger(&|| FdSocket::listen(&path)).unwrap();
        let refused = FdSocket::connect(&path, limit, None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
        assert!(FdSocket::connect(&path, limit, Some(STRANGER)).is_ok(), "the user that this process will become");
        drop(strangers);
        let own = FdSocket::listen(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let stranger = as_stranger(&|| FdSocket::connect(&path, limit, None)).unwrap();
        let refused = own.accept().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{refused}");
        drop(stranger);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_descriptor_goes_over() {
        let path = std::env::temp_dir().join(format!("pldns-pass-{}", std::process::id()));
        let listener = FdSocket::listen(&path).unwrap();
        let client = FdSocket::connect(&path, Duration::from_secs(5), None).unwrap();
        let server = listener.accept().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        server.send(b"null", Some(file.as_fd())).unwrap();
        server.send(b"end", None).unwrap();
        let (message, descriptor) = client.receive().unwrap();
        assert_eq!(message, b"null");
        assert!(descriptor.is_some());
        let (message, descriptor) = client.receive().unwrap();
        assert_eq!((message.as_slice(), descriptor.is_none()), (&b"end"[..], true));
        drop(server);
        assert_eq!(client.receive().unwrap().0, b"");
        // Another one takes the place.
        let other = FdSocket::listen(&path).unwrap();
        drop(listener);
        assert!(FdSocket::connect(&path, Duration::from_secs(5), None).is_ok());
        drop(other);
        assert!(FdSocket::connect(&path, Duration::from_secs(5), None).is_err(), "nothing listens");
        std::fs::remove_file(path).unwrap();
    }
}
