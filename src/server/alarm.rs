//! Timers of the kernel that a poll watches: a thread that sleeps without a limit wakes for them.
//!
//! A sleep with a limit sets a timer and takes it back at each wake-up. On a virtual machine either can leave the guest, which costs more
//! than what the thread woke for; a timer that is left alone costs nothing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// One such timer.
#[derive(Debug)]
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    /// One that is not set, watched under this token.
    ///
    /// # Errors
    /// The system's refusal to give a descriptor.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Goes off once, after so long; what it was set to before is forgotten.
    ///
    /// # Errors
    /// The system's, for a time that it cannot count.
    pub(super) fn set(&self, after: Duration) -> io::Result<()> {
        // Zero would turn it off.
        let it_value = Timespec::try_from(after.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn a_poll_without_a_limit_wakes_for_each_time_that_an_alarm_goes_off() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(4));
        let alarm = Alarm::new(poll.registry(), Token(7)).unwrap();
        let mut wait = |poll: &mut Poll| {
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().all(|event| event.token() == Token(7)));
            Instant::now()
        };
        let start = Instant::now();
        alarm.set(Duration::ZERO).unwrap();
        wait(&mut poll);
        // One that went off is set again without being read.
        alarm.set(Duration::from_millis(30)).unwrap();
        alarm.set(Duration::from_millis(10)).unwrap();
        assert!(wait(&mut poll) - start >= Duration::from_millis(10));
    }
}
