//! dnsmasq as the benchmarks start it.

use std::net::SocketAddr;

/// The arguments for a server on a port of 127.0.0.1 with these upstreams.
pub(crate) fn arguments(port: u16, upstreams: &[SocketAddr]) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--listen-address=127.0.0.1",
        "--pid-file=",
        "--user=root",
        "--log-facility=/dev/null",
        "--cache-size=200000",
        "--dns-forward-max=10000",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--port={port}"));
    arguments.extend(upstreams.iter().map(|upstream| format!("--server={}#{}", upstream.ip(), upstream.port())));
    arguments
}
