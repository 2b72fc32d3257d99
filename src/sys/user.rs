//! Becoming another user.

use std::io;

/// Becomes the user for good, in all threads, without supplementary groups.
///
/// # Errors
/// The system's refusal: only root can do this.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: the list of groups is empty, so the pointer is not followed.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: setgid and setuid take numbers alone.
    check(unsafe { libc::setgid(gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setuid(uid) })?;
    // SAFETY: as above.
    if uid != 0 && unsafe { libc::setuid(0) } == 0 {
        return Err(io::Error::other("the way back to root is open"));
    }
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
