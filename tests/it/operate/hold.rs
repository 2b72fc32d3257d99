//! One thread of another process, held as a debugger holds it, while the others go on.

#![expect(unsafe_code, reason = "ptrace has no safe form in any dependency")]

use std::fs;
use std::io;

/// A thread that is held until this is dropped.
pub(crate) struct Held(libc::pid_t);

impl Held {
    /// Holds the thread of a process that has this name.
    pub(crate) fn thread(process: u32, name: &str) -> io::Result<Self> {
        let threads = fs::read_dir(format!("/proc/{process}/task"))?.flatten();
        let is_it = |entry: &fs::DirEntry| {
            fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let thread = threads.into_iter().find(is_it).ok_or(io::ErrorKind::NotFound)?;
        let thread: libc::pid_t =
            thread.file_name().to_string_lossy().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        request(libc::PTRACE_SEIZE, thread)?;
        let held = Self(thread);
        request(libc::PTRACE_INTERRUPT, thread)?;
        // SAFETY: waitpid may be told no place for the status.
        let waited = unsafe { libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL) };
        if waited == thread { Ok(held) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A thread that is gone needs no release.
        let _ = request(libc::PTRACE_DETACH, self.0);
    }
}

fn request(request: libc::c_uint, thread: libc::pid_t) -> io::Result<()> {
    let nothing: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: none of the three requests reads or writes memory of this process.
    let done = unsafe { libc::ptrace(request, thread, nothing, nothing) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
