//! Files that are replaced as a whole: a reader sees the old content or the new, never a part of one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Replaces the file at `path`: writes beside it, to the disk, then renames. A link stays a link, a device is written to.
///
/// The permissions of a file that is there already stay; a new one gets `mode` where one is given, else what the process's
/// umask leaves. Fails as the operations on the file do; the old content is then untouched and nothing is left beside it.
pub fn replace(path: &Path, bytes: &[u8], mode: Option<u32>) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(&target).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return OpenOptions::new().write(true).open(&target)?.write_all(bytes);
    }
    let beside = beside(&target)?;
    let permissions = old.map(|old| old.permissions()).or_else(|| mode.map(permissions_of));
    let written = write_new(&beside, bytes, permissions).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // The failure is reported already; a leftover would only add to it.
        let _ = fs::remove_file(&beside);
        return written;
    }
    sync_directory(&target)
}

/// A name in the same directory that no other process uses.
fn beside(target: &Path) -> io::Result<PathBuf> {
    let name =
        target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a valid file name"))?;
    let beside = target.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    // One that an earlier process of this number left when it was ended.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(beside),
    }
}

fn write_new(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name last through a power failure, where the file system can.
fn sync_directory(target: &Path) -> io::Result<()> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if let Ok(directory) = File::open(directory) {
        // Some file systems refuse this for directories; the file itself is on the disk already.
        let _ = directory.sync_all();
    }
    Ok(())
}

fn permissions_of(mode: u32) -> Permissions {
    Permissions::from_mode(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
        let directory = std::env::temp_dir().join(format!("pldns-files-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let file = directory.join("x");
        replace(&file, b"old", Some(0o640)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        replace(&file, b"new", Some(0o600)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640, "the old permissions stay");
        assert!(replace(&directory.join("no/such/y"), b"z", None).is_err());
        let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["x"]);
        fs::remove_dir_all(&directory).unwrap();
    }
}
