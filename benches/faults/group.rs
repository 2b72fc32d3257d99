//! A control group with little memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel keeps groups: of the first version, then of the second, each with the file of the limit.
const PLACES: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// A group that goes when it is dropped.
pub(crate) struct Group(PathBuf);

impl Group {
    /// A group with so many MiB, or why there can be none.
    pub(crate) fn new(mib: u64) -> Result<Self, String> {
        let mut last = String::new();
        for (place, limit) in PLACES {
            let group = Self(Path::new(place).join(format!("pldns-faults-{}", std::process::id())));
            let made = fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join(limit), (mib << 20).to_string()));
            match made {
                Ok(()) => return Ok(group),
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("no control group of its own: {last}"))
    }

    /// What a process writes its number to.
    pub(crate) fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// The most memory that it had, MiB.
    pub(crate) fn peak(&self) -> Option<u64> {
        let read = |file| fs::read_to_string(self.0.join(file)).ok()?.trim().parse::<u64>().ok();
        read("memory.max_usage_in_bytes").or_else(|| read("memory.peak")).map(|bytes| bytes >> 20)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
