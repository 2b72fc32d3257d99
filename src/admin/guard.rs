//! Who is let in: by `Host`, by token, and not from another site's page.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::Door;
use super::page::document;
use super::refusal::refuse;

/// The header by which a program shows that it is no web page: pages of other sites cannot set it unasked.
const OWN_HEADER: &str = "x-pldns";

/// Lets requests in that name this machine. A page whose name leads here (DNS rebinding) names itself.
pub(super) async fn host(State(door): State<Door>, request: Request, next: Next) -> Response {
    if door.is_loopback && !names_loopback(request.uri(), request.headers()) {
        return refuse(StatusCode::MISDIRECTED_REQUEST, "Host is not of this machine");
    }
    next.run(request).await
}

/// Lets requests in that carry the token, where there is one.
pub(super) async fn token(State(door): State<Door>, request: Request, next: Next) -> Response {
    let token = door.admin.token.load_full();
    if let Some(token) = token
        && !carries(request.headers(), &token)
    {
        let challenge = [(WWW_AUTHENTICATE, "Bearer")];
        // A browser cannot send the token with its first request: the page has no data, and asks for it.
        let refusal = match request.uri().path() {
            "/" => document(StatusCode::UNAUTHORIZED),
            _ => refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong"),
        };
        return (challenge, refusal).into_response();
    }
    next.run(request).await
}

/// Lets requests that change something in only if no page of another site can have sent them.
pub(super) async fn same_site(request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let headers = request.headers();
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        let from_page = headers.contains_key(ORIGIN) || site.is_some_and(|site| site != b"none");
        if from_page {
            return refuse(StatusCode::FORBIDDEN, "web pages may not do this");
        }
        if !headers.contains_key(AUTHORIZATION) && headers.get(OWN_HEADER).is_none_or(|value| value != "1") {
            return refuse(StatusCode::FORBIDDEN, "the header `X-Pldns: 1` is missing");
        }
    }
    next.run(request).await
}

/// The parameters behind the `?` of a request's target. What is wrong with them is told as all errors are.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => Err(refuse(StatusCode::BAD_REQUEST, &error.body_text())),
        }
    }
}

/// Whether a request is for a name of this machine: its one `Host` says so, and so does the host in its target where there
/// is one, which takes precedence (RFC 9112 §3.2, §3.2.2).
fn names_loopback(target: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let is_loopback = |host: &Authority| {
        let name = host.host();
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_port =
            |rest: &str| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        host.as_str().strip_prefix(name).is_some_and(is_port)
            && (name.eq_ignore_ascii_case("localhost")
                || address.parse().is_ok_and(|address: IpAddr| address.is_loopback()))
    };
    Authority::try_from(host.as_bytes()).is_ok_and(|host| is_loopback(&host))
        && target.authority().is_none_or(is_loopback)
}

/// Compares without telling by its time how much was right.
fn carries(headers: &HeaderMap, token: &str) -> bool {
    let given =
        headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer ")).unwrap_or_default();
    let token = token.as_bytes();
    let differs =
        given.iter().zip(token).fold(given.len() ^ token.len(), |differs, (a, b)| differs | usize::from(a ^ b));
    differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine() {
        let path = Uri::from_static("/metrics");
        let headers = |host: &str| HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        let with = |host: &str| names_loopback(&path, &headers(host));
        for good in ["localhost", "LOCALHOST:8053", "127.0.0.1", "127.0.0.2:1", "[::1]:8053", "[::1]"] {
            assert!(with(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.4:8053",
            "[fd00::1]:1",
            "127.0.0.1.nip.io",
            "localhost:evil",
            "[]",
            "[127.0.0.1",
            "127.0.0.1]",
            "localhost@evil.example",
        ] {
            assert!(!with(bad), "{bad:?}");
        }
        assert!(!names_loopback(&path, &HeaderMap::new()));
        let mut two = headers("localhost");
        two.append(HOST, "evil.example".parse().unwrap());
        assert!(!names_loopback(&path, &two), "more than one Host");
        for (target, is_good) in [("http://evil.example/metrics", false), ("http://localhost:8053/metrics", true)] {
            assert_eq!(names_loopback(&Uri::from_static(target), &headers("localhost")), is_good, "{target}");
        }
    }

    #[test]
    fn only_the_whole_token_is_right() {
        let with = |value: &str| carries(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]), "secret");
        assert!(with("Bearer secret"));
        for bad in ["", "Bearer ", "Bearer secre", "Bearer secrets", "Bearer Secret", "secret", "Basic secret"] {
            assert!(!with(bad), "{bad}");
        }
    }
}
