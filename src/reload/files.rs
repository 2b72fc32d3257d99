//! The records files that the globs of the settings name.
//!
//! What cannot be read is a problem, never an absence: a directory without permission and a share that is not mounted
//! would otherwise look like a table that became empty.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::config::Settings;
use crate::document::{Diagnostic, Problems, Severity, SourceText};

/// Characters that make a glob of a path.
const GLOB: [char; 3] = ['*', '?', '['];
/// What to write in the settings.
const EXAMPLE: &str = "files = [\"records/*.toml\"]";

/// What one entry of `[records] files` leads to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files, sorted.
    pub(super) files: Vec<PathBuf>,
    /// What keeps others from being found.
    pub(super) faults: Vec<Fault>,
}

/// Why files may be missing from what a glob leads to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It is not a glob.
    #[error("not a valid glob: {0}")]
    Glob(&'static str),
    /// It leads to a directory.
    #[error("{} is a directory", .0.display())]
    Directory(PathBuf),
    /// The file, or the directory where the glob begins, does not exist.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// A directory cannot be listed, or a file in it not be looked at.
    #[error("{} cannot be read: {error}", .path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Finds the files of one entry of `[records] files`, relative to the directory of the settings file.
pub(super) fn find(glob: &str, settings_file: &Path) -> Found {
    let home = settings_file.parent().filter(|home| *home != Path::new("")).unwrap_or_else(|| Path::new("."));
    let mut found = Found::default();
    if !glob.contains(GLOB) {
        let file = home.join(glob);
        match file.metadata() {
            Ok(metadata) if metadata.is_dir() => found.faults.push(Fault::Directory(file)),
            Ok(_) => found.files.push(file),
            Err(error) => found.faults.push(fault(file, error)),
        }
        return found;
    }
    // The directory's own name may hold characters that mean something in a glob.
    let pattern = Path::new(&glob::Pattern::escape(&home.to_string_lossy())).join(glob);
    let paths = match glob::glob(&pattern.to_string_lossy()) {
        Ok(paths) => paths,
        Err(error) => {
            found.faults.push(Fault::Glob(error.msg));
            return found;
        }
    };
    // A directory that may not be entered has no matches, and no error either.
    let base = home.join(fixed_part(glob));
    if let Err(error) = std::fs::read_dir(&base) {
        found.faults.push(fault(base, error));
        return found;
    }
    for path in paths {
        match path {
            Ok(path) => match path.metadata() {
                Ok(metadata) if metadata.is_file() => found.files.push(path),
                Ok(_) => {}
                // An editor's lock is such a link.
                Err(error) if error.kind() == ErrorKind::NotFound && is_hidden(&path) => {}
                Err(error) => found.faults.push(fault(path, error)),
            },
            Err(error) => {
                let path = error.path().to_owned();
                found.faults.push(fault(path, error.into()));
            }
        }
    }
    found.files.sort();
    found
}

fn fault(path: PathBuf, error: io::Error) -> Fault {
    match error.kind() {
        ErrorKind::NotFound => Fault::Missing(path),
        _ => Fault::Unreadable { path, error },
    }
}

/// The directories in front of the first part that holds a wildcard.
fn fixed_part(glob: &str) -> PathBuf {
    Path::new(glob)
        .components()
        .take_while(|part| !matches!(part, Component::Normal(name) if name.to_string_lossy().contains(GLOB)))
        .collect()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// All records files, each once, in the order of the settings. What is wrong with the globs goes to `problems`, at their
/// places in `source`.
pub(super) fn find_all(
    settings: &Settings,
    path: &Path,
    source: Option<&SourceText>,
    problems: &mut Problems,
) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for (glob, span) in &settings.records.files {
        let found = find(glob, path);
        let is_default = settings.records.is_default;
        if found.files.is_empty() && found.faults.is_empty() && !is_default {
            let message = format!("no file matches \"{}\"", glob.escape_debug());
            let hint = "globs are relative to the directory of this file";
            problems.push(at(Severity::Warning, source, span, path, message, hint));
        }
        for fault in found.faults {
            // Without settings for it, there need not be a directory.
            if is_default && matches!(fault, Fault::Missing(_)) {
                continue;
            }
            let message = format!("\"{}\" in `files`: {fault}", glob.escape_debug());
            problems.push(at(Severity::Error, source, span, path, message, hint(&fault, glob)));
        }
        files.extend(found.files.into_iter().filter(|file| seen.insert(file.clone())));
    }
    files
}

fn at(
    severity: Severity,
    source: Option<&SourceText>,
    span: &Range<usize>,
    path: &Path,
    message: String,
    hint: impl Into<String>,
) -> Diagnostic {
    match source.filter(|_| !span.is_empty()) {
        Some(source) => Diagnostic::at(severity, source, span.clone(), message, hint),
        None => Diagnostic::of_file(severity, path.display().to_string(), message, hint),
    }
}

fn hint(fault: &Fault, glob: &str) -> String {
    match fault {
        Fault::Glob(_) => EXAMPLE.to_owned(),
        Fault::Directory(_) => format!("files = [\"{}/*.toml\"]", glob.trim_end_matches('/')),
        Fault::Missing(_) => "globs are relative to the directory of this file; is a share not mounted?".to_owned(),
        Fault::Unreadable { path, error } => access_hint(path, error),
    }
}

/// What to do about a path that cannot be read.
pub(super) fn access_hint(path: &Path, error: &io::Error) -> String {
    if path.is_dir() && error.kind() == ErrorKind::IsADirectory {
        return format!("this is a directory: name the file in it, as in {}", path.join("pldns.toml").display());
    }
    if error.kind() != ErrorKind::PermissionDenied {
        return "does it exist, and may this user read it?".to_owned();
    }
    let user = rustix::process::geteuid().as_raw();
    let right = if path.is_dir() { "read and search permission (r, x)" } else { "read permission (r)" };
    format!(
        "user id {user} needs {right} there, and search permission (x) on every directory above: `namei -l {}` shows them",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pldns-globs-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("records/deep")).unwrap();
            for file in ["records/b.toml", "records/a.toml", "records/deep/c.toml", "records/x.txt"] {
                std::fs::write(path.join(file), "").unwrap();
            }
            Self(path)
        }

        fn find(&self, glob: &str) -> (Vec<String>, Vec<Fault>) {
            let found = find(glob, &self.0.join("pldns.toml"));
            let name = |path: PathBuf| path.strip_prefix(&self.0).unwrap().display().to_string();
            (found.files.into_iter().map(name).collect(), found.faults)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn globs_lead_to_files_in_order() {
        let scratch = Scratch::new("order");
        for (glob, files) in [
            ("records/*.toml", &["records/a.toml", "records/b.toml"][..]),
            ("records/**/*.toml", &["records/a.toml", "records/b.toml", "records/deep/c.toml"]),
            ("records/b.toml", &["records/b.toml"]),
            ("records/*.none", &[]),
        ] {
            let (found, faults) = scratch.find(glob);
            assert_eq!((&found[..], faults.len()), (&files.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>()[..], 0));
        }
    }

    #[test]
    fn what_is_not_there_is_a_fault() {
        let scratch = Scratch::new("missing");
        std::os::unix::fs::symlink("nowhere", scratch.0.join("records/link.toml")).unwrap();
        std::os::unix::fs::symlink("nowhere", scratch.0.join("records/.#a.toml")).unwrap();
        assert!(matches!(&scratch.find("off/*.toml").1[..], [Fault::Missing(path)] if path.ends_with("off")));
        assert!(matches!(&scratch.find("records/off.toml").1[..], [Fault::Missing(_)]));
        assert!(matches!(&scratch.find("records").1[..], [Fault::Directory(_)]));
        assert!(matches!(&scratch.find("records/a.toml/*.toml").1[..], [Fault::Unreadable { .. }]));
        assert!(matches!(&scratch.find("records/[a.toml").1[..], [Fault::Glob(_)]));
        let (files, faults) = scratch.find("records/*.toml");
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(matches!(&faults[..], [Fault::Missing(path)] if path.ends_with("link.toml")), "{faults:?}");
    }
}
