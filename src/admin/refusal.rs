//! How a request is told that it gets nothing.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A reply without what was asked for: a status, and what is wrong as JSON.
pub(super) fn refuse(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(serde_json::json!({ "error": error }))).into_response()
}
