//! HTTP for discovery: bounded bodies and times, no redirects, answers with their Retry-After.

use std::io::Read;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::Agent;
use ureq::Body;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use super::names::Names;
use super::page::{self, Page, PageError, Shape};

/// The largest page that is read, bytes. Little of it is kept.
const PAGE_MAX: u64 = 64 << 20;
/// The largest other body that is read, bytes: a token, where this machine is, an error.
const BODY_MAX: u64 = 1 << 20;
/// How long a request may take, its body included.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the instance metadata service, which is on the same host, may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// Parts of an error's text that are kept: a proxy may answer with pages.
const DETAIL_MAX: usize = 200;

/// Why a request has no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    /// No answer: connecting, TLS, a timeout, a body that ends early.
    #[error("{0}")]
    Transport(String),
    /// An answer with a status other than 200.
    #[error("status {status}{}", detail_text(.detail))]
    Status {
        /// The status.
        status: u16,
        /// Code and message of the error, as Azure words it.
        detail: String,
        /// How long to wait before the next request, where the answer says so.
        retry_after: Option<Duration>,
    },
    /// A body that is not JSON.
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// A page with more than may be kept.
    #[error("more than may be kept")]
    TooLarge,
}

fn detail_text(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// A client of one purpose.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    /// For Azure Resource Manager and Microsoft Entra ID.
    pub(super) fn new(names: Names) -> Self {
        let config = config(TIMEOUT).build();
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), names) }
    }

    /// For the instance metadata service: never through a proxy.
    pub(super) fn for_metadata(names: Names) -> Self {
        let config = config(METADATA_TIMEOUT).proxy(None).build();
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), names) }
    }

    /// The JSON at a URL.
    pub(super) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Value, HttpError> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call())
    }

    /// The page of a list at a URL: what `shape` says of its objects, `max` bytes at most.
    pub(super) fn get_page(&self, url: &str, authorization: &str, shape: &Shape, max: u64) -> Result<Page, HttpError> {
        let request = self.agent.get(url).header("Authorization", authorization).header("Accept", "application/json");
        let mut response = answered(request.call())?;
        let body = response.body_mut().with_config().limit(PAGE_MAX).reader();
        page::read(body, shape, max).map_err(|error| match error {
            PageError::TooLarge => HttpError::TooLarge,
            PageError::Json(error) if error.is_io() => ends_early(&error.to_string()),
            PageError::Json(error) => HttpError::NotJson(error.to_string()),
        })
    }

    /// The JSON that a form is answered with.
    pub(super) fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<Value, HttpError> {
        read(self.agent.post(url).send_form(form.iter().copied()))
    }
}

fn config(timeout: Duration) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    let tls = TlsConfig::builder().root_certs(RootCerts::WebPki).build();
    Agent::config_builder()
        .http_status_as_error(false)
        // A token goes to the host that it is for, and nowhere else.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(timeout))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .tls_config(tls)
        .user_agent(concat!("pldns/", env!("CARGO_PKG_VERSION")))
}

fn read(response: Result<Response<Body>, ureq::Error>) -> Result<Value, HttpError> {
    let mut response = answered(response)?;
    let bytes = response.body_mut().with_config().limit(BODY_MAX).read_to_vec();
    let bytes = bytes.map_err(|error| ends_early(&error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| HttpError::NotJson(error.to_string()))
}

/// An answer with status 200.
fn answered(response: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, HttpError> {
    let mut response = response.map_err(|error| HttpError::Transport(shortened(&error.to_string())))?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let retry_after = response.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?));
    let mut bytes = Vec::new();
    // What there is of it: the status says the most.
    let _ = response.body_mut().with_config().limit(BODY_MAX).reader().read_to_end(&mut bytes);
    Err(HttpError::Status { status: status.as_u16(), detail: detail(&bytes), retry_after })
}

fn ends_early(error: &str) -> HttpError {
    HttpError::Transport(shortened(&format!("the answer ends early: {error}")))
}

/// Seconds, or an HTTP date (RFC 9110 §10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = http_date(text.trim())?;
    Some(then.duration_since(SystemTime::now()).unwrap_or_default())
}

/// `Sun, 29 Nov 2026 19:35:31 GMT`, the form that servers send (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<SystemTime> {
    let mut parts = text.split_ascii_whitespace().skip(1);
    let day: u64 = parts.next()?.parse().ok()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = parts.next()?;
    let month = u64::try_from(months.iter().position(|known| *known == month)?).ok()? + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = parts.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 by the civil calendar, years beginning in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let seconds = (days.checked_sub(719_468)?) * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// `Code: message` of an error as Azure Resource Manager, Entra ID and the metadata service word it.
fn detail(bytes: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else {
        return String::new();
    };
    let error = &body["error"];
    let (code, message) = if error.is_object() {
        (error["code"].as_str(), error["message"].as_str())
    } else {
        (error.as_str(), body["error_description"].as_str())
    };
    let text: Vec<&str> = [code, message].into_iter().flatten().collect();
    shortened(&text.join(": "))
}

/// One printable line, not too long.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(DETAIL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Sun, 29 Nov 2026 19:35:31 GMT", 1_795_980_931),
        ] {
            assert_eq!(http_date(text), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "tomorrow", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT"] {
            assert_eq!(http_date(text), None, "{text}");
        }
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "the past");
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn errors_are_told_in_azures_words_on_one_line() {
        let arm = br#"{"error": {"code": "AuthorizationFailed", "message": "The client has no\nrights"}}"#;
        assert_eq!(detail(arm), "AuthorizationFailed: The client has no");
        let entra = br#"{"error": "invalid_client", "error_description": "AADSTS700016: not found"}"#;
        assert_eq!(detail(entra), "invalid_client: AADSTS700016: not found");
        assert_eq!(detail(b"<html>"), "");
        assert_eq!(shortened(&"x".repeat(1000)).len(), DETAIL_MAX);
    }
}
