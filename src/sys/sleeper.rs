//! Ending a thread's sleep in a system call, by a signal.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// Does nothing but end a system call. Where no handler is installed it is ignored.
const SIGNAL: libc::c_int = libc::SIGURG;

/// A thread that sleeps in system calls, as others reach it.
#[derive(Debug, Default)]
pub struct Sleeper(AtomicI32);

/// The thread may sleep, until this is dropped.
#[must_use]
pub struct MaySleep<'s>(&'s Sleeper);

impl Drop for MaySleep<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Release);
    }
}

impl Sleeper {
    /// Not yet that of a thread.
    ///
    /// # Errors
    /// The system's refusal of the signal's handler.
    pub fn new() -> io::Result<Self> {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: an all-zero sigaction is valid: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the action is initialized, its handler touches nothing and stays, and the old one is not asked for. Without
        // `SA_RESTART` a call that was interrupted ends.
        if unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self::default())
    }

    /// Says that the calling thread is this one, and may sleep.
    pub fn may_sleep(&self) -> MaySleep<'_> {
        // SAFETY: gettid takes nothing and always succeeds.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        self.0.store(i32::try_from(thread).unwrap_or_default(), Ordering::Release);
        MaySleep(self)
    }

    /// Ends the system call that the thread sleeps in; whether the thread may still sleep. One that is about to sleep is missed: call
    /// it again until it may not.
    pub fn interrupt(&self) -> bool {
        let thread = self.0.load(Ordering::Acquire);
        if thread != 0 {
            // SAFETY: tgkill takes numbers alone. A thread that has ended is an error that changes nothing, and one of this process that
            // has its number by now takes no harm from the signal.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
        }
        thread != 0
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests of the shell use sockets and threads"
)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_thread_that_sleeps_in_a_socket_is_woken() {
        let sleeper = Sleeper::new().unwrap();
        assert!(!sleeper.interrupt(), "no thread sleeps");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let is_over = AtomicBool::new(false);
        let end = Instant::now() + Duration::from_secs(20);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let sleeping = sleeper.may_sleep();
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::Interrupted);
                }
                drop(sleeping);
            });
            while !sleeper.interrupt() {
                assert!(Instant::now() < end, "it does not begin");
            }
            is_over.store(true, Ordering::Relaxed);
            while sleeper.interrupt() {
                assert!(Instant::now() < end, "it sleeps on");
                std::thread::yield_now();
            }
        });
    }
}
