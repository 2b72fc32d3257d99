//! Access tokens for Azure Resource Manager: by managed identity, workload identity or the Azure CLI.
//!
//! A token is kept in memory only, never printed, and renewed before it expires. Its lifetime is counted by the monotonic
//! clock from the number of seconds that came with it, so that a wall clock that jumps does not matter.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::client::{Client, HttpError};
use super::cloud::services;
use crate::config::{DiscoverSettings, Identity};

/// A token is renewed this long before it expires.
const MARGIN: Duration = Duration::from_secs(300);
/// The lifetime of a token that does not state one.
const LIFETIME: Duration = Duration::from_secs(600);
/// The instance metadata service, where the settings name none.
pub(super) const METADATA_SERVICE: &str = "http://169.254.169.254";

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The service that gives tokens.
    #[error("{service}: {error}")]
    Http {
        /// Which one.
        service: &'static str,
        /// What it said.
        error: HttpError,
    },
    /// Something that the identity needs is not there.
    #[error("{0}")]
    Missing(String),
}

/// A token and when to renew it.
struct Kept {
    token: String,
    renew_at: Instant,
}

/// Tokens of one identity.
pub(super) struct Tokens {
    settings: DiscoverSettings,
    client: Client,
    metadata: Client,
    kept: Option<Kept>,
}

impl Tokens {
    pub(super) fn new(settings: &DiscoverSettings, client: Client, metadata: Client) -> Self {
        Self { settings: settings.clone(), client, metadata, kept: None }
    }

    /// A valid token. `now` is the present instant.
    pub(super) fn get(&mut self, now: Instant) -> Result<String, TokenError> {
        if let Some(kept) = self.kept.as_ref().filter(|kept| now < kept.renew_at) {
            return Ok(kept.token.clone());
        }
        let (token, lifetime) = match self.settings.identity {
            Identity::Managed => self.managed()?,
            Identity::Workload => self.workload()?,
            Identity::Cli => self.cli()?,
        };
        // Half of a short lifetime, so that a token is used at all.
        let usable = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
        self.kept = Some(Kept { token: token.clone(), renew_at: now + usable });
        Ok(token)
    }

    /// The service refused the token: the next one is a new one.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    fn audience(&self) -> &'static str {
        services(self.settings.cloud).audience
    }

    /// "How to use managed identities for Azure resources on an Azure VM to acquire an access token", Azure documentation.
    fn managed(&self) -> Result<(String, Duration), TokenError> {
        let base = self.settings.metadata_service.as_deref().unwrap_or(METADATA_SERVICE);
        let mut url = format!(
            "{base}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}",
            encoded(self.audience())
        );
        if let Some(client_id) = &self.settings.client_id {
            url += &format!("&client_id={}", encoded(client_id));
        }
        let answer = self.metadata.get(&url, &[("Metadata", "true")]);
        token_of(
            answer.map_err(|error| TokenError::Http { service: "instance metadata service", error })?,
            "access_token",
        )
    }

    /// "Microsoft Entra Workload ID on AKS": a federated token becomes an access token (RFC 7523 §2.2).
    fn workload(&self) -> Result<(String, Duration), TokenError> {
        let var = |name: &str| {
            env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
                TokenError::Missing(format!(
                    "the environment has no {name}, which AKS sets for pods with workload identity"
                ))
            })
        };
        let client_id = match &self.settings.client_id {
            Some(client_id) => client_id.clone(),
            None => var("AZURE_CLIENT_ID")?,
        };
        let (tenant, file) = (var("AZURE_TENANT_ID")?, var("AZURE_FEDERATED_TOKEN_FILE")?);
        let authority = match env::var("AZURE_AUTHORITY_HOST").ok().filter(|host| !host.is_empty()) {
            Some(host) => trusted_authority(&host)?,
            None => services(self.settings.cloud).authority.to_owned(),
        };
        let assertion = fs::read_to_string(Path::new(&file))
            .map_err(|error| TokenError::Missing(format!("cannot read the federated token {file}: {error}")))?;
        let scope = format!("{}/.default", self.audience().trim_end_matches('/'));
        let form = [
            ("client_id", client_id.as_str()),
            ("scope", scope.as_str()),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.trim()),
        ];
        let url = format!("{authority}/{}/oauth2/v2.0/token", encoded(&tenant));
        let answer = self.client.post_form(&url, &form);
        token_of(answer.map_err(|error| TokenError::Http { service: "Microsoft Entra ID", error })?, "access_token")
    }

    /// What `az account get-access-token` prints.
    fn cli(&self) -> Result<(String, Duration), TokenError> {
        let output = Command::new("az")
            .args(["account", "get-access-token", "--output", "json", "--resource", self.audience()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| TokenError::Missing(format!("cannot run az: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
            return Err(TokenError::Missing(format!("az account get-access-token failed: {}", printable(line))));
        }
        let answer = serde_json::from_slice(&output.stdout)
            .map_err(|error| TokenError::Missing(format!("az account get-access-token printed no JSON: {error}")))?;
        token_of(answer, "accessToken")
    }
}

/// An authority that a secret may be sent to: HTTPS, or HTTP of loopback.
fn trusted_authority(host: &str) -> Result<String, TokenError> {
    let host = host.trim_end_matches('/');
    let is_loopback = |rest: &str| {
        let authority = rest.split('/').next().unwrap_or_default();
        let name = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    };
    if host.starts_with("https://") || host.strip_prefix("http://").is_some_and(is_loopback) {
        return Ok(host.to_owned());
    }
    Err(TokenError::Missing(format!(
        "AZURE_AUTHORITY_HOST must begin with https:// (http:// is accepted for loopback addresses only), not {}",
        printable(host)
    )))
}

/// The token of an answer and its lifetime. Numbers may be strings.
fn token_of(answer: Value, key: &str) -> Result<(String, Duration), TokenError> {
    let token =
        answer[key].as_str().filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    let Some(token) = token else {
        return Err(TokenError::Missing(format!("the answer has no {key}")));
    };
    let number = |key: &str| {
        let value = &answer[key];
        value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
    };
    let lifetime = number("expires_in").map(Duration::from_secs).or_else(|| {
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(number("expires_on")?))?;
        expires.duration_since(SystemTime::now()).ok()
    });
    Ok((token.to_owned(), lifetime.unwrap_or(LIFETIME)))
}

/// A value for a URL, percent-encoded (RFC 3986 §2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::discover::names::Names;
    use crate::upstream::{Authorities, Trust};
    use serde_json::json;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn lifetimes_are_numbers_or_strings() {
        let lifetime = |answer| token_of(answer, "access_token").unwrap().1.as_secs();
        assert_eq!(lifetime(json!({ "access_token": "x", "expires_in": "3599" })), 3599);
        assert_eq!(lifetime(json!({ "access_token": "x", "expires_in": 60 })), 60);
        assert_eq!(lifetime(json!({ "access_token": "x" })), LIFETIME.as_secs());
        assert_eq!(lifetime(json!({ "access_token": "x", "expires_on": "1" })), LIFETIME.as_secs(), "in the past");
        for bad in [json!({}), json!({ "access_token": "" }), json!({ "access_token": "a b" }), json!([1])] {
            assert!(token_of(bad, "access_token").is_err());
        }
    }

    #[test]
    fn the_lifetime_that_came_with_a_token_counts_whatever_the_wall_clock_says() {
        // `expires_on` is by Azure's clock: to a machine whose own is wrong, it is long ago or years away.
        for expires_on in ["1", "99999999999", "18446744073709551615"] {
            let answer = json!({ "access_token": "x", "expires_in": "3599", "expires_on": expires_on });
            assert_eq!(token_of(answer, "access_token").unwrap().1.as_secs(), 3599, "{expires_on}");
        }
    }

    #[test]
    fn a_token_is_used_until_five_minutes_before_its_end_and_a_short_one_for_half_of_its_life() {
        for (lifetime, used) in [(3600, 3300), (60, 30), (400, 200), (0, 0)] {
            let client = Client::new(Names::of(&Settings::default(), Arc::new(Trust::new(&Authorities::default()))));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let service = thread::spawn(move || {
                for number in 1..=2 {
                    let mut stream = listener.accept().unwrap().0;
                    let _ = stream.read(&mut [0; 4096]).unwrap();
                    let body = json!({ "access_token": format!("t{number}"), "expires_in": lifetime }).to_string();
                    let head =
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).unwrap();
                }
            });
            let settings = DiscoverSettings { metadata_service: Some(base), ..DiscoverSettings::default() };
            let mut tokens = Tokens::new(&settings, client.clone(), client);
            let start = Instant::now();
            let at = |seconds: u64| start + Duration::from_secs(seconds);
            assert_eq!(tokens.get(start).unwrap(), "t1");
            if used > 0 {
                assert_eq!(tokens.get(at(used - 1)).unwrap(), "t1", "{lifetime}");
            }
            assert_eq!(tokens.get(at(used)).unwrap(), "t2", "{lifetime}");
            service.join().unwrap();
        }
    }

    #[test]
    fn a_secret_goes_over_https_or_to_loopback() {
        for good in ["https://login.microsoftonline.com/", "http://127.0.0.1:8080", "http://[::1]:8080/"] {
            assert!(trusted_authority(good).is_ok(), "{good}");
        }
        for bad in ["http://login.microsoftonline.com", "http://127.0.0.1.example", "ftp://127.0.0.1", "login"] {
            assert!(trusted_authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_encoded() {
        assert_eq!(encoded("https://management.azure.com/"), "https%3A%2F%2Fmanagement.azure.com%2F");
    }
}
