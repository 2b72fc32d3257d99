//! What `serve` would refuse on this machine, beyond the text of settings and records: found before anything is bound, and
//! by `check` as well.

use std::ops::Range;
use std::path::Path;

use super::http::{HttpError, read_token};
use super::memory::memory_there_is;
use super::memory_bound::{Bounds, MemoryBound, RecordSizes};
use super::privileges::find_user;
use super::{certificate, worker_count};
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
    judge_memory(loaded, &mut note);
    let (_, of_certificate) = certificate::read(path, loaded, Severity::Error);
    problems.extend(of_certificate);
    problems
}

/// Whether all that is kept and waits fits, at its least, into what the process may use. That the records are too many is a warning:
/// the bound is for the worst of times, and a server that does not start is worse than one that may run short.
fn judge_memory(loaded: &Loaded, note: &mut impl FnMut(Severity, &Range<usize>, String, &str)) {
    let settings = &loaded.settings;
    let workers = worker_count(settings);
    let there_is = memory_there_is();
    let least = |records| {
        let bounds = Bounds::fit(settings, records, workers, Some(0), None);
        MemoryBound::of(settings, records, workers, &bounds).total()
    };
    let (alone, with_records) = (least(RecordSizes::default()), least(RecordSizes::of(loaded)));
    let cache = settings.cache.max_size;
    let shorter = "less `cache.max_size`, fewer `listen.connections` or `workers`";
    if let Some(memory) = there_is.filter(|&memory| cache > memory && !settings.places.cache_max_size.is_empty()) {
        let message = format!(
            "the cache may grow to {} MiB, and this machine or its control group has {} MiB of memory",
            cache >> 20,
            memory >> 20
        );
        note(Severity::Warning, &settings.places.cache_max_size, message, "max_size = \"64MiB\"");
    } else if let Some(limit) = settings.max_memory {
        let (severity, needed, what) = match limit {
            _ if alone > limit => (Severity::Error, alone, "these settings"),
            _ if with_records > limit => (Severity::Warning, with_records, "these settings and records"),
            _ => return,
        };
        let (limit, needed) = (limit >> 20, needed.div_ceil(1 << 20));
        let message = format!("`max_memory` is {limit} MiB, and {what} need {needed} MiB at least");
        note(severity, &settings.places.max_memory, message, &format!("max_memory = \"{needed}MiB\", or {shorter}"));
    } else if let Some(memory) = there_is.filter(|&memory| with_records > memory) {
        let message = format!(
            "these settings and records need {} MiB at least, and this machine or its control group has {} MiB of memory",
            with_records.div_ceil(1 << 20),
            memory >> 20
        );
        note(Severity::Warning, &settings.places.max_memory, message, shorter);
    }
}
