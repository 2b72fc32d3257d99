//! Tickets by which clients resume TLS sessions (RFC 8446 §4.6.1, RFC 5077): sealed with keys of this process, or with keys of a file
//! that servers of one name share, so that each takes up the sessions of all.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use data_encoding::BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio_rustls::rustls::server::ProducesTickets;

/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Keys of one file: the first, and those that it took the place of.
const KEYS_MAX: usize = 16;
/// Bytes of what tells which key a ticket is sealed with.
const NAME_LEN: usize = 16;
/// Bytes of when a ticket was made.
const TIME_LEN: usize = 8;
/// How long a session may be resumed: keys of a file stay until somebody changes them, and what a stolen one opens is less so.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// By how much the clocks of two servers may differ.
const CLOCKS: u64 = 60;

/// The keys of a file: the first seals, all of them open.
pub struct TicketKeys(Vec<TicketKey>);

struct TicketKey {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
}

/// Why a file has no keys: the line, from 1, where one is at fault, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", .line.map(|line| format!("line {line} ")).unwrap_or_default())]
pub struct TicketKeysError {
    line: Option<usize>,
    what: String,
}

impl TicketKeys {
    /// Reads keys: one a line, 32 bytes in Base64 (RFC 4648 §4); empty lines and those that begin with `#` count for nothing.
    ///
    /// # Errors
    /// The first line that is no key, the same key twice, none at all or too many.
    pub fn parse(text: &str) -> Result<Self, TicketKeysError> {
        let fail = |line, what: String| TicketKeysError { line, what };
        let mut keys: Vec<TicketKey> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = BASE64
                .decode(line.as_bytes())
                .map_err(|error| fail(Some(number), format!("is not valid Base64: {error}")))?;
            let len = bytes.len();
            let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes)
                .map_err(|_| fail(Some(number), format!("has {len} bytes in Base64; a key must have {KEY_LEN}")))?;
            let name = name_of(&bytes);
            if keys.iter().any(|known| known.name == name) {
                return Err(fail(Some(number), "has the key of a line above".to_owned()));
            }
            keys.push(TicketKey { name, key: LessSafeKey::new(key) });
        }
        match keys.len() {
            0 => Err(fail(None, "has no key".to_owned())),
            1..=KEYS_MAX => Ok(Self(keys)),
            many => Err(fail(None, format!("has {many} keys; {KEYS_MAX} are the most"))),
        }
    }

    fn seal(&self, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.0.first()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = [&now.to_be_bytes()[..], session].concat();
        let nonce_of_key = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_of_key, Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        // Names are no secret.
        let TicketKey { name, key } = self.0.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(name), &mut sealed).ok()?;
        let (made, session) = opened.split_first_chunk::<TIME_LEN>()?;
        let made = u64::from_be_bytes(*made);
        let is_fresh = made <= now.saturating_add(CLOCKS) && now.saturating_sub(made) <= LIFETIME.as_secs();
        is_fresh.then(|| session.to_vec())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TicketKeys").field(&self.0.len()).finish()
    }
}

/// What a key is known by: nothing of it can be told from that.
fn name_of(key: &[u8]) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    let hash = digest(&SHA256, &[b"pldns ticket key name", key].concat());
    name.iter_mut().zip(hash.as_ref()).for_each(|(place, byte)| *place = *byte);
    name
}

/// What tickets are made with now. All listeners share it, so that a session is resumed by whichever worker gets the connection.
pub struct Tickets {
    shared: ArcSwapOption<TicketKeys>,
    /// Without keys of a file: those of this process, which renews them by itself.
    own: Arc<dyn ProducesTickets>,
}

impl Tickets {
    pub(super) fn new(own: Arc<dyn ProducesTickets>) -> Self {
        Self { shared: ArcSwapOption::empty(), own }
    }

    /// Seals with these from now on; nothing: with keys of this process.
    pub fn replace(&self, keys: Option<TicketKeys>) {
        self.shared.store(keys.map(Arc::new));
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        match &*self.shared.load() {
            Some(keys) => keys.seal(plain, now()),
            None => self.own.encrypt(plain),
        }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let shared = self.shared.load();
        shared.as_ref().and_then(|keys| keys.open(cipher, now())).or_else(|| self.own.decrypt(cipher))
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        BASE64.encode(&[byte; KEY_LEN])
    }

    fn keys(bytes: &[u8]) -> TicketKeys {
        TicketKeys::parse(&bytes.iter().map(|&byte| key(byte) + "\n").collect::<String>()).unwrap()
    }

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn all_keys_open_and_the_first_seals() {
        let (old, rotated, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
        let of_old = old.seal(b"session", NOW).unwrap();
        let of_rotated = rotated.seal(b"session", NOW).unwrap();
        for (keys, ticket, opens) in [
            (&old, &of_old, true),
            (&rotated, &of_old, true),
            (&new, &of_old, false),
            (&old, &of_rotated, false),
            (&rotated, &of_rotated, true),
            (&new, &of_rotated, true),
        ] {
            assert_eq!(keys.open(ticket, NOW).as_deref(), opens.then_some(&b"session"[..]));
        }
        assert_ne!(of_old, old.seal(b"session", NOW).unwrap(), "each with a nonce of its own");
    }

    #[test]
    fn old_changed_and_cut_tickets_are_not_opened() {
        let keys = keys(&[1]);
        let ticket = keys.seal(b"session", NOW).unwrap();
        let lifetime = LIFETIME.as_secs();
        for (now, opens) in [
            (NOW + lifetime, true),
            (NOW + lifetime + 1, false),
            (NOW - CLOCKS, true),
            (NOW - CLOCKS - 1, false),
            (u64::MAX, false),
        ] {
            assert_eq!(keys.open(&ticket, now).is_some(), opens, "{now}");
        }
        for place in 0..ticket.len() {
            assert!(keys.open(&ticket[..place], NOW).is_none());
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert!(keys.open(&changed, NOW).is_none(), "{place}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_line() {
        let error = |text: &str| TicketKeys::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "has no key");
        assert_eq!(error("# none\n\n"), "has no key");
        let short = BASE64.encode(&[0; 31]);
        assert_eq!(
            error(&format!("# the first\n{}\n{short}\n", key(1))),
            "line 3 has 31 bytes in Base64; a key must have 32"
        );
        assert!(error("not a key\n").starts_with("line 1 is not valid Base64: "));
        assert_eq!(error(&[key(1), key(2), key(1)].join("\n")), "line 3 has the key of a line above");
        let many: Vec<_> = (0..17).map(key).collect();
        assert_eq!(error(&many.join("\n")), "has 17 keys; 16 are the most");
        assert!(TicketKeys::parse(&many[..16].join("\r\n")).is_ok());
    }
}
