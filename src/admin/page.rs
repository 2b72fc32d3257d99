//! `GET /`: the status page, whole in one document.
//!
//! It holds no data: its script asks `/status`, `/history`, `/records` and `/explain` for them, and for the token where the
//! server wants one. Nothing is loaded from elsewhere, and the policy lets nothing else run: style and script carry a number
//! that is drawn for each reply.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use rand::TryRng;
use rand::rngs::SysRng;

use super::refusal::refuse;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
/// Where the number of a reply goes.
const NONCE: &str = "{nonce}";

/// The document, cut where the number goes.
static PARTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let fill = |part: &str| part.replace("{style}", STYLE).replace("{script}", SCRIPT);
    HTML.split(NONCE).map(fill).collect()
});

/// The page, for requests that are let in.
pub(super) async fn page() -> Response {
    document(StatusCode::OK)
}

/// The page; with another status for those who must show their token first: a browser has no other way to do that.
pub(super) fn document(status: StatusCode) -> Response {
    let mut number = [0; 16];
    if SysRng.try_fill_bytes(&mut number).is_err() {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "no randomness");
    }
    let nonce = HEXLOWER.encode(&number);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &policy),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (status, headers, PARTS.join(&nonce)).into_response()
}
