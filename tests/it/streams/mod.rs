//! Upstreams over TCP, TLS and HTTPS, against the built server: scripted upstreams on one side, a client by UDP on the
//! other. What is in the bytes of an answer is looked at one layer below, where nothing composes a reply.

mod bytes;
mod certificates;
mod discover;
mod https;
mod message;
mod plain;
mod server;
mod tls;
mod upstream;
