//! The memory that there is, how much of it the process may use, and what it gives back.

#![expect(clippy::disallowed_methods, reason = "the kernel tells it in files")]

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::server::Shared;
use crate::sys::give_back_memory;

/// How often it is looked whether many connections ended.
const LOOK: Duration = Duration::from_secs(5);

/// Memory of this machine, or of the control group that the process is in where that is less, bytes.
pub(super) fn memory_there_is() -> Option<u64> {
    let total = read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limits(&groups).filter_map(|file| read_to_string(file).ok()?.trim().parse().ok());
    total.into_iter().chain(limits).min()
}

/// What the process may use, bytes: what the settings say, else three quarters of what there is. The rest is the kernel's, whose
/// buffers of sockets a control group counts as well, and others'.
pub fn memory_limit(settings: &Settings) -> Option<u64> {
    settings.max_memory.or_else(|| memory_there_is().map(|memory| memory / 4 * 3))
}

/// Gives memory back each time after many connections ended. The allocator by itself keeps it for the next ones.
pub(super) async fn give_back(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK).await;
        if shared.connections.have_many_ended() {
            give_back_memory();
        }
    }
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibi: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibi.checked_mul(1024)
}

/// The files that have the limits of a control group and of those above it, of version 2 and of version 1.
fn group_limits(text: &str) -> impl Iterator<Item = PathBuf> {
    let groups = text.lines().filter_map(|line| {
        let (_, of_version_1) = line.split_once(":memory:/").unzip();
        match line.strip_prefix("0::/") {
            Some(group) => Some((Path::new("/sys/fs/cgroup"), group, "memory.max")),
            None => of_version_1.map(|group| (Path::new("/sys/fs/cgroup/memory"), group, "memory.limit_in_bytes")),
        }
    });
    groups.flat_map(|(root, group, file)| {
        let group = root.join(group);
        // In a container the path may be the host's, which is not there: the root's is the container's then.
        let directories: Vec<PathBuf> =
            group.ancestors().take_while(|directory| directory.starts_with(root)).map(Path::to_owned).collect();
        directories.into_iter().map(move |directory| directory.join(file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_kernel_prints() {
        assert_eq!(meminfo_total("MemTotal:       24590420 kB\nMemFree: 1 kB\n"), Some(24_590_420 * 1024));
        assert_eq!(meminfo_total("MemFree: 1 kB\n"), None);
        assert!(memory_there_is().is_some_and(|memory| memory > 1 << 20));
    }

    #[test]
    fn limits_of_a_control_group_and_of_those_above_it_count() {
        let files = |text: &str| group_limits(text).map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            files("1:name=x:/y\n0::/system.slice/pldns.service\n"),
            [
                "/sys/fs/cgroup/system.slice/pldns.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            files("4:memory:/pod\n"),
            ["/sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn settings_win_over_what_there_is() {
        let settings = Settings { max_memory: Some(5), ..Settings::default() };
        assert_eq!(memory_limit(&settings), Some(5));
        let derived = memory_limit(&Settings::default()).unwrap();
        assert!(derived < memory_there_is().unwrap());
    }
}
