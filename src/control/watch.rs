//! Whether files changed: by their content, because links that are swapped (ConfigMaps) and network shares tell nothing
//! else.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::config::Settings;
use crate::reload::record_paths;

/// Bytes read at once.
const PIECE: usize = 64 << 10;
/// How long a file that changed must stay as it is, before it is read: writers write piece by piece.
const SETTLE: Duration = Duration::from_millis(200);
/// How often that is looked at, at most.
const SETTLE_TRIES: u32 = 10;

/// A number that is another one when settings or records change. What cannot be read counts as such.
pub(super) fn fingerprint(path: &Path, settings: &Settings) -> u64 {
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    let token = settings.admin.token_file.as_ref().map(|file| sibling(path, file));
    let tls = &settings.tls;
    let ticket_keys = tls.ticket_keys.as_ref().map(|(file, _)| file);
    let secrets = [&tls.certificate.0, &tls.private_key.0].into_iter().chain(ticket_keys);
    let secrets = secrets.filter(|_| settings.listen.is_encrypted()).map(|file| sibling(path, file));
    let authorities = settings.upstream_ca.as_ref().map(|(file, _)| sibling(path, file));
    let files = std::iter::once(path.to_owned())
        .chain(token)
        .chain(authorities)
        .chain(secrets)
        .chain(record_paths(settings, path));
    for file in files {
        hasher.write(file.as_os_str().as_encoded_bytes());
        match hash_file(&file, &mut hasher) {
            Ok(len) => hasher.write_u64(len),
            Err(_) => hasher.write_u64(u64::MAX),
        }
    }
    hasher.finish()
}

/// Reads a file piece by piece: it may be large, and is looked at often.
fn hash_file(file: &Path, hasher: &mut impl Hasher) -> io::Result<u64> {
    let mut file = File::open(file)?;
    let mut piece = Vec::with_capacity(PIECE);
    let mut len = 0;
    loop {
        piece.clear();
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        hasher.write(&piece);
        len += read as u64;
        // Pieces are full but for the last, so that the same content makes the same fingerprint.
        if read < PIECE {
            return Ok(len);
        }
    }
}

/// The fingerprint, once it has been the same for a moment.
pub(super) fn settled_fingerprint(path: &Path, settings: &Settings) -> u64 {
    let mut before = fingerprint(path, settings);
    for _ in 0..SETTLE_TRIES {
        std::thread::sleep(SETTLE);
        let now = fingerprint(path, settings);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

/// A file that the settings name, relative to the settings file.
pub(super) fn sibling(path: &Path, file: &str) -> std::path::PathBuf {
    path.parent().unwrap_or_else(|| Path::new(".")).join(file)
}
