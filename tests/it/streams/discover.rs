//! Names of Azure's services where the rule for them has encrypted upstreams alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::certificates::{Authority, Valid};
use super::message::answer;
use super::server::Pldns;
use super::upstream::{Framed, Upstream};

/// A metadata service that gives a token, whatever it is asked.
fn metadata_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"access_token":"t","expires_in":"3600"}"#;
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    address
}

/// Settings whose services' names are asked of this upstream alone; nothing listens where they are.
fn settings(upstream: SocketAddr) -> String {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!(
        "[tls]\nupstream_ca = \"ca.pem\"\n[azure.discover]\nsubscriptions = [\"11111111-1111-1111-1111-111111111111\"]\n\
         state = \"\"\nresource_manager = \"https://arm.example:{unused}\"\nmetadata_service = \"http://{}\"\n\
         [[forward]]\nzone = \".\"\nupstreams = [\"tls://{upstream}#dns.example\"]\n",
        metadata_service()
    )
}

#[tokio::test]
async fn names_of_azures_services_are_asked_of_encrypted_upstreams() {
    let authority = Authority::new();
    let tls = authority.acceptor("dns.example", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |_, mut framed: Framed| async move {
        while let Some(query) = framed.read().await {
            let mut answer = answer(&query);
            let end = answer.len();
            answer[end - 4..].copy_from_slice(&[127, 0, 0, 1]);
            framed.write(&answer).await;
        }
    })
    .await;
    let server = Pldns::start(&settings(upstream.address), &[("ca.pem", &authority.pem)]).await;
    let line = server.logged("discovery failed").await;
    assert!(line.to_lowercase().contains("refused"), "the address that the upstream gave is connected to: {line}");
    assert!(upstream.seen().iter().any(|(_, name)| name == "arm.example."), "{:?}", upstream.seen());
}

#[tokio::test]
async fn an_encrypted_upstream_with_a_wrong_certificate_is_named_and_not_asked() {
    let authority = Authority::new();
    let tls = authority.acceptor("other.example", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |_, framed| framed.answer_all()).await;
    let server = Pldns::start(&settings(upstream.address), &[("ca.pem", &authority.pem)]).await;
    let line = server.logged("discovery failed").await;
    assert!(line.contains("arm.example cannot be asked of tls://"), "{line}");
    assert!(line.contains("certificate"), "{line}");
}
