//! What the process gives up once its sockets are bound, and before any worker runs: what a thread gives up, only the
//! threads that it starts later lack as well.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};

use crate::config::{Identity, Settings};
use crate::sys::{EPHEMERAL_PORTS, become_user};

/// Why the user of the settings cannot be become.
#[derive(Debug, thiserror::Error)]
#[error("cannot become the user \"{user}\": {reason}")]
pub struct UserError {
    user: String,
    reason: String,
}

/// Why the settings' name for a user leads to none.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindUserError {
    #[error("{0} is not a valid group ID")]
    Group(String),
    #[error("/etc/passwd: {0}")]
    Passwd(io::Error),
    #[error("/etc/passwd does not have it")]
    Unknown,
}

/// Raises the number of descriptors that may be open to what the system allows.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "cannot raise RLIMIT_NOFILE");
    }
}

/// Becomes the user of the settings, where one is named.
pub(super) fn become_named(user: &str) -> Result<(), UserError> {
    if user.is_empty() {
        return Ok(());
    }
    let fail = |reason: String| UserError { user: user.to_owned(), reason };
    let (uid, gid) = find_user(user).map_err(|error| fail(error.to_string()))?;
    let is_it_already = rustix::process::geteuid().as_raw() == uid && rustix::process::getuid().as_raw() == uid;
    if is_it_already {
        return Ok(());
    }
    become_user(uid, gid).map_err(|error| fail(error.to_string()))
}

/// The id of a user by the settings' name for it; nothing where there is none.
pub(super) fn user_id(user: &str) -> Option<u32> {
    if user.is_empty() { None } else { find_user(user).ok().map(|(uid, _)| uid) }
}

/// A name of /etc/passwd, `UID` or `UID:GID`.
#[expect(clippy::disallowed_methods, reason = "users are in a file")]
pub(super) fn find_user(user: &str) -> Result<(u32, u32), FindUserError> {
    let (name, group) = user.split_once(':').unwrap_or((user, ""));
    if let Ok(uid) = name.parse() {
        let gid = if group.is_empty() { Ok(uid) } else { group.parse() };
        return gid.map(|gid| (uid, gid)).map_err(|_| FindUserError::Group(group.to_owned()));
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(FindUserError::Passwd)?;
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let known = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (known == name).then_some((uid, gid))
    });
    found.ok_or(FindUserError::Unknown)
}

/// Gives up all capabilities but those that may be needed again: binding a port below 1024 after a reload, and, for
/// root, reading files of others.
pub(super) fn drop_capabilities() {
    let mut keep = vec![Capability::CAP_NET_BIND_SERVICE];
    if rustix::process::geteuid().is_root() {
        keep.push(Capability::CAP_DAC_READ_SEARCH);
    }
    if let Err(error) = keep_only(&keep) {
        tracing::warn!(%error, "cannot drop capabilities");
    }
}

fn keep_only(keep: &[Capability]) -> Result<(), caps::errors::CapsError> {
    let kept = |set| -> Result<CapsHashSet, caps::errors::CapsError> {
        let has = caps::read(None, set)?;
        Ok(keep.iter().copied().filter(|capability| has.contains(capability)).collect())
    };
    caps::clear(None, CapSet::Ambient)?;
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            if !keep.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    let (effective, permitted) = (kept(CapSet::Effective)?, kept(CapSet::Permitted)?);
    caps::set(None, CapSet::Effective, &effective)?;
    caps::set(None, CapSet::Permitted, &permitted)?;
    caps::clear(None, CapSet::Inheritable)
}

/// Leaves the process the files that it needs: settings, records, token, what the kernel says of its ports, and the
/// directory of the handover socket. Says how much of it the kernel enforces.
pub(super) fn confine(settings_file: &Path, settings: &Settings) {
    let discover = &settings.azure.discover;
    if discover.is_on() && discover.identity == Identity::Cli {
        // `az` is a program with files of its own everywhere.
        return tracing::info!("Landlock sandbox disabled: [azure.discover] identity = \"cli\" runs az");
    }
    let readable = readable_places(settings_file, settings);
    let handover = settings.handover.as_ref().and_then(|path| Path::new(path).parent()).map(Path::to_owned);
    let state = discover.state.as_ref().filter(|_| discover.is_on());
    let state = state.map(|file| directory_of(&directory_of(settings_file).join(file)));
    let tap = settings.dnstap.file.iter().chain(&settings.dnstap.socket);
    let tap = tap.map(|file| directory_of(&directory_of(settings_file).join(file)));
    let writable: Vec<PathBuf> = handover.into_iter().chain(state).chain(tap).filter(|path| path.exists()).collect();
    match restrict(&readable, &writable) {
        Ok(RulesetStatus::FullyEnforced) => tracing::debug!("Landlock sandbox enabled"),
        Ok(RulesetStatus::PartiallyEnforced) => tracing::debug!("Landlock sandbox enabled partially"),
        Ok(RulesetStatus::NotEnforced) => tracing::info!("Landlock not supported by the kernel; sandbox disabled"),
        Err(error) => tracing::warn!(%error, "Landlock sandbox disabled"),
    }
}

fn restrict(readable: &BTreeSet<PathBuf>, writable: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V5;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(abi)))?
        .add_rules(path_beneath_rules(writable, AccessFs::from_all(abi)))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Directories, because files in them may be replaced, and what links in them lead to.
fn readable_places(settings_file: &Path, settings: &Settings) -> BTreeSet<PathBuf> {
    let home = directory_of(settings_file);
    let mut files = vec![settings_file.to_owned()];
    for (glob, _) in &settings.records.files {
        let fixed: PathBuf = Path::new(glob)
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
            .collect();
        files.push(home.join(&fixed));
        if !glob.contains(['*', '?', '[']) {
            files.push(home.join(directory_of(&fixed)));
        }
    }
    if settings.azure.discover.is_on() {
        // The federated token of workload identity, which Kubernetes replaces.
        files.extend(std::env::var_os("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from));
    }
    files.extend(settings.upstream_ca.iter().map(|(file, _)| home.join(file)));
    if settings.listen.is_encrypted() {
        files.extend([&settings.tls.certificate.0, &settings.tls.private_key.0].map(|file| home.join(file)));
        files.extend(settings.tls.ticket_keys.iter().map(|(file, _)| home.join(file)));
    }
    files.extend(settings.admin.token_file.iter().map(|file| home.join(file)));
    let mut places = BTreeSet::from([home, PathBuf::from("/proc/self"), EPHEMERAL_PORTS.into()]);
    for file in files {
        let real = std::fs::canonicalize(&file).ok();
        for path in [Some(file), real].into_iter().flatten() {
            let place = if path.is_dir() { path } else { directory_of(&path) };
            if place.exists() {
                places.insert(place);
            }
        }
    }
    places
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
