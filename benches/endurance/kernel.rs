//! What the kernel threw away: datagrams that found a socket's buffer full.

use std::fs;

/// Datagrams thrown away at the sockets that are bound to these ports of IPv4, over their lives.
pub(crate) fn drops(ports: &[u16]) -> u64 {
    let text = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        ports.contains(&port).then(|| fields.last()?.parse::<u64>().ok())?
    };
    text.lines().skip(1).filter_map(of_line).sum()
}
