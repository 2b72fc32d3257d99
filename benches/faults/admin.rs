//! What pldns counts itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The token of operators.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// How long a query may be in flight after the last one was answered or given up.
const SOON: Duration = Duration::from_secs(1);

/// What was received, less what was answered, refused and dropped: 0 once nothing is in flight.
pub(crate) fn account(admin: SocketAddr) -> Option<i64> {
    let end = Instant::now() + SOON;
    loop {
        let text = metrics(admin)?;
        let sum = |name: &str| {
            let of_line = |line: &str| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<i64>().ok();
            text.lines().filter_map(of_line).sum::<i64>()
        };
        let ended = ["answered", "refused", "dropped"].map(|what| sum(&format!("pldns_queries_{what}_total{{")));
        let difference = sum("pldns_queries_received_total{") - ended.iter().sum::<i64>();
        if difference == 0 || Instant::now() > end {
            return Some(difference);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Log lines that were dropped.
pub(crate) fn lines_dropped(admin: SocketAddr) -> Option<u64> {
    let text = metrics(admin)?;
    text.lines().find_map(|line| line.strip_prefix("pldns_log_lines_dropped_total ")?.parse().ok())
}

/// Queries that it dropped, by its own reasons.
pub(crate) fn dropped(admin: SocketAddr) -> Vec<String> {
    let of_line = |line: &str| {
        let (reason, count) = line.strip_prefix("pldns_queries_dropped_total{reason=\"")?.split_once("\"} ")?;
        (count != "0").then(|| format!("{count} dropped ({reason})"))
    };
    metrics(admin).unwrap_or_default().lines().filter_map(of_line).collect()
}

fn metrics(admin: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&admin, SOON).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    reply.starts_with("HTTP/1.1 200").then_some(reply)
}
