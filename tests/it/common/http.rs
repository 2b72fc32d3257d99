//! HTTP/1.1 by hand, one request a connection.

use super::SOON;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An HTTP reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One request by hand. Headers may replace `Host`.
#[track_caller]
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Reply {
    try_request(address, method, path, headers).unwrap_or_else(|| panic!("no reply to {method} {path}"))
}

pub(crate) fn try_request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text += &format!("Host: {address}\r\n");
    }
    for header in headers {
        text += header;
        text += "\r\n";
    }
    text += "Content-Length: 0\r\n\r\n";
    stream.write_all(text.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some(Reply {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    })
}
