//! What the operating system accounts to a server: CPU time and memory, of the process and of all that it forked.

use std::time::Duration;

/// Ticks a second in /proc (USER_HZ), the same on every Linux.
const TICKS: u64 = 100;

/// A process and its descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some(parent) = fields(child).and_then(|fields| fields.get(1)?.parse::<u32>().ok()) {
            parents.push((child, parent));
        }
    }
    let mut members = vec![pid];
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        members.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    members
}

/// The fields of /proc/PID/stat from the state on, which follows the name in parentheses.
fn fields(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// User and system time so far.
pub(crate) fn cpu(family: &[u32]) -> Duration {
    let ticks = family.iter().filter_map(|&pid| {
        let fields = fields(pid)?;
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    });
    Duration::from_millis(ticks.sum::<u64>() * (1000 / TICKS))
}

/// User and system time so far, to the nanosecond, where the kernel tells it; of threads that are still there.
pub(crate) fn run_time(family: &[u32]) -> Duration {
    let of = |pid: &u32| -> Option<u64> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let times = tasks.flatten().filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(times.sum())
    };
    match family.iter().filter_map(of).sum() {
        0 => cpu(family),
        nanoseconds => Duration::from_nanos(nanoseconds),
    }
}

/// Memory in KiB: what is shared between forks counts once.
pub(crate) fn memory(family: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    family.iter().filter_map(of).sum()
}
