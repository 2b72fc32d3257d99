//! Operation over real sockets: probes, pages, metrics, reloads, drain, logs, privileges.

mod http;
mod log;
mod metrics;
mod privileges;
mod reload;
mod server;
mod stop;
