//! What `serve` would refuse on this machine, beyond the text of settings and records: found before anything is bound, and
//! by `check` as well.

#![expect(clippy::disallowed_methods, reason = "users, tokens and the memory there is are in files")]

use std::fs::read_to_string;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::certificate;
use super::http::{HttpError, read_token};
use super::privileges::find_user;
use crate::document::{Diagnostic, Problems, Severity};
use crate::reload::Loaded;

/// Looks at the user, the token and the memory that the settings in the file at `path` want.
pub fn preflight(path: &Path, loaded: &Loaded) -> Problems {
    let settings = &loaded.settings;
    let mut problems = Problems::default();
    let mut note = |severity, span: &Range<usize>, message: String, hint: &str| {
        problems.push(match &loaded.source {
            Some(source) => Diagnostic::at(severity, source, span.clone(), message, hint),
            None => Diagnostic::of_file(severity, path.display().to_string(), message, hint),
        });
    };
    if !settings.user.is_empty()
        && let Err(reason) = find_user(&settings.user)
    {
        let message = format!("cannot become the user \"{}\": {reason}", settings.user.escape_debug());
        note(Severity::Error, &settings.places.user, message, "a name in /etc/passwd, UID or UID:GID");
    }
    if let Err(HttpError::Token { file, reason }) = read_token(path, settings) {
        let message = format!("cannot read token from {}: {reason}", file.escape_debug());
        let hint = "one line of printable ASCII, as `openssl rand -hex 32` prints it, readable for this user";
        note(Severity::Error, &settings.places.token_file, message, hint);
    }
    if let Some(memory) = memory_there_is()
        && settings.cache.max_size > memory
    {
        let mebi = |bytes: u64| bytes >> 20;
        let message = format!(
            "the cache may grow to {} MiB, and this machine or its control group has {} MiB of memory",
            mebi(settings.cache.max_size),
            mebi(memory)
        );
        note(Severity::Warning, &settings.places.cache_max_size, message, "max_size = \"64MiB\"");
    }
    let (_, of_certificate) = certificate::read(path, loaded, Severity::Error);
    problems.extend(of_certificate);
    problems
}

/// Memory of this machine, or of the control group that the process is in where that is less, bytes.
fn memory_there_is() -> Option<u64> {
    let total = read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let group = read_to_string("/proc/self/cgroup").ok().and_then(|text| cgroup_path(&text));
    let limits = group.into_iter().flat_map(|group| {
        let directories: Vec<PathBuf> = group.ancestors().map(Path::to_owned).collect();
        directories.into_iter().filter_map(|directory| {
            let limit = read_to_string(directory.join("memory.max")).ok()?;
            limit.trim().parse().ok()
        })
    });
    total.into_iter().chain(limits).min()
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibi: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibi.checked_mul(1024)
}

/// The directory of a control group of version 2.
fn cgroup_path(text: &str) -> Option<PathBuf> {
    let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_kernel_prints() {
        assert_eq!(meminfo_total("MemTotal:       24590420 kB\nMemFree: 1 kB\n"), Some(24_590_420 * 1024));
        assert_eq!(meminfo_total("MemFree: 1 kB\n"), None);
        assert_eq!(cgroup_path("1:name=x:/y\n0::/system.slice/pldns.service\n").unwrap().ancestors().count(), 6);
        assert_eq!(cgroup_path("0::/\n").unwrap(), Path::new("/sys/fs/cgroup/"));
        assert!(memory_there_is().is_some_and(|memory| memory > 1 << 20));
    }
}
