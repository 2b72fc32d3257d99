//! Operation over real sockets: probes, pages, metrics, reloads, drain, logs, privileges.

mod bounds;
mod designated;
mod dnstap;
mod encrypted;
mod explain;
mod families;
mod flood;
#[cfg(feature = "quic")]
mod flooding;
#[cfg(feature = "quic")]
mod floods;
mod fragments;
mod handover;
mod hold;
mod hostile;
mod http;
mod log;
mod metrics;
mod namespace;
mod page;
mod privileges;
#[cfg(feature = "quic")]
mod quic;
#[cfg(feature = "quic")]
mod quic_client;
mod read_only;
mod reload;
mod server;
mod stop;
mod systemd;
mod tickets;
mod tls_client;
mod upstreams;
