//! What the kernel says of this process.

/// Bytes of memory in use; `None` where the kernel does not say.
#[expect(clippy::disallowed_methods, reason = "procfs is a file")]
pub(super) fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Descriptors that are open, and how many may be.
pub(super) fn descriptors() -> (Option<u64>, Option<u64>) {
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (open, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        let (open, limit) = descriptors();
        assert!((3..=limit.unwrap()).contains(&open.unwrap()));
    }
}
