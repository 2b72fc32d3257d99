//! The layer that carries messages, alone: what comes back are the upstream's bytes, with the ID that was asked with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use privatelink_dns::forward::{Protocol, Target};
use privatelink_dns::upstream::{Authorities, Streams, Trust};
use tokio::task::LocalSet;

use super::certificates::{Authority, Valid};
use super::https::{Conduct, Https};
use super::message::odd_answer;
use super::upstream::{Framed, Upstream};
use crate::common::ask::query;

#[tokio::test]
async fn answers_come_through_as_they_are() {
    let authority = Authority::new();
    let conduct = |_, mut framed: Framed| async move {
        while let Some(query) = framed.read().await {
            framed.write(&odd_answer(&query)).await;
        }
    };
    let tcp = Upstream::start(None, conduct).await;
    let tls = Upstream::start(Some(authority.acceptor("dns.example", Valid::Now, b"")), conduct).await;
    let acceptor = authority.acceptor("dns.example", Valid::Now, b"h2");
    let https = Https::start(acceptor, |_, _| Conduct::Answer, odd_answer).await;
    let server_name: Arc<str> = "dns.example".into();
    let targets = [
        Target { address: tcp.address, protocol: Protocol::Tcp },
        Target { address: tcp.address, protocol: Protocol::Datagram },
        Target { address: tls.address, protocol: Protocol::Tls { server_name: server_name.clone() } },
        Target { address: https.address, protocol: Protocol::Https { server_name, path: "/dns-query".into() } },
    ];
    let authorities = Authorities::from_pem(authority.pem.as_bytes()).unwrap();
    let streams = Streams::new(Arc::new(Trust::new(&authorities)), [1; 32]);
    let asking = async {
        for target in &targets {
            for id in [0_u16, 1, 0x1234, 0xffff] {
                let asked = query(id, "MiXed.example");
                let deadline = Instant::now() + Duration::from_secs(10);
                let came = streams.ask(target, &asked, 1, deadline).await.unwrap();
                assert_eq!(came, odd_answer(&asked), "{target} {id}");
            }
        }
    };
    LocalSet::new().run_until(asking).await;
    assert_eq!(tcp.connections(), 1, "a plain upstream and the same by TCP alone share");
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let silent = Upstream::start(None, |_, framed: Framed| framed.say_nothing()).await;
    let target = Target { address: silent.address, protocol: Protocol::Tcp };
    let streams = Streams::new(Arc::new(Trust::new(&Authorities::default())), [1; 32]);
    let asking = async {
        let start = Instant::now();
        let outcome = streams.ask(&target, &query(1, "a.example"), 1, start + Duration::from_millis(100)).await;
        assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(2));
        for unsendable in [&b""[..], b"\0\0", &[0; 12], &[255; 40]] {
            assert!(streams.ask(&target, unsendable, 1, start + Duration::from_secs(9)).await.is_err());
        }
    };
    LocalSet::new().run_until(asking).await;
}
