//! TLS: certificates that are right, and those that are not.

use std::time::Duration;

use super::certificates::{Authority, Valid};
use super::message::answer;
use super::server::{Pldns, check, explain};
use super::upstream::{Framed, Upstream};

const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_right_certificate_and_one_connection_for_many_queries() {
    let authority = Authority::new();
    let tls = authority.acceptor("dns.example", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |_, framed| framed.answer_all()).await;
    let target = format!("tls://{}#dns.example", upstream.address);
    let server = Pldns::with_upstream(&target, &[("ca.pem", &authority.pem)]).await;
    for number in 0..100 {
        server.must_answer(&format!("n{number}.example")).await;
    }
    assert_eq!(upstream.connections(), 1);
    let line = server.logged("upstream responds").await;
    assert!(line.contains(&target), "{line}");
    assert!(server.warnings().is_empty(), "{:#?}", server.warnings());
}

#[tokio::test]
async fn without_a_name_the_certificate_is_for_the_address() {
    let authority = Authority::new();
    let tls = authority.acceptor("127.0.0.1", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |_, framed| framed.answer_all()).await;
    let server = Pldns::with_upstream(&format!("tls://{}", upstream.address), &[("ca.pem", &authority.pem)]).await;
    server.must_answer("first.example").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    refused("other.example", Valid::Now, true, "certificate for another name").await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    refused("dns.example", Valid::LongAgo, true, "certificate expired").await;
}

#[tokio::test]
async fn a_certificate_of_the_future_is_refused() {
    refused("dns.example", Valid::Later, true, "certificate not valid yet").await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    refused("dns.example", Valid::Now, false, "certificate of an unknown authority").await;
}

/// No query gets out, each client is told, and the log has one line.
async fn refused(name: &str, valid: Valid, is_known: bool, cause: &str) {
    let authority = Authority::new();
    let upstream = Upstream::start(Some(authority.acceptor(name, valid, b"")), |_, framed| framed.answer_all()).await;
    let target = format!("tls://{}#dns.example", upstream.address);
    let known = if is_known { authority } else { Authority::new() };
    let server = Pldns::with_upstream(&target, &[("ca.pem", &known.pem)]).await;
    let replies = tokio::join!(server.ask("a.example"), server.ask("b.example"), server.ask("c.example"));
    for reply in [replies.0, replies.1, replies.2] {
        reply.rcode("SERVFAIL");
    }
    assert_eq!(upstream.seen(), []);
    server.logged("upstream query failed").await;
    let told = server.lines("upstream query failed");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains(&format!("\"cause\":\"{cause}\"")), "{told:#?}");
    assert!(told[0].contains(&target), "{told:#?}");
}

#[tokio::test]
async fn another_upstream_answers_where_a_certificate_is_refused() {
    let authority = Authority::new();
    let expired = authority.acceptor("dns.example", Valid::LongAgo, b"");
    let right = authority.acceptor("dns.example", Valid::Now, b"");
    let expired = Upstream::start(Some(expired), |_, framed| framed.answer_all()).await;
    let right = Upstream::start(Some(right), |_, framed| framed.answer_all()).await;
    let settings = format!(
        "[tls]\nupstream_ca = \"ca.pem\"\n[[forward]]\nzone = \".\"\nupstreams = [\"tls://{}#dns.example\", \"tls://{}#dns.example\"]\n",
        expired.address, right.address
    );
    let server = Pldns::start(&settings, &[("ca.pem", &authority.pem)]).await;
    for number in 0..10 {
        let took = server.must_answer(&format!("n{number}.example")).await;
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(expired.seen(), []);
}

#[tokio::test]
async fn idle_close_loses_nothing() {
    let authority = Authority::new();
    let tls = authority.acceptor("dns.example", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |number, mut framed: Framed| async move {
        let Some(query) = framed.read().await else { return };
        framed.write(&answer(&query)).await;
        // In good order, and as a crash would.
        if number % 2 == 0 {
            framed.close().await;
        }
    })
    .await;
    let target = format!("tls://{}#dns.example", upstream.address);
    let server = Pldns::with_upstream(&target, &[("ca.pem", &authority.pem)]).await;
    for number in 0..20 {
        let took = server.must_answer(&format!("n{number}.example")).await;
        assert!(took < AT_ONCE, "{number}: {took:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_holds_up_nobody_else() {
    // A listener that never says a word of TLS.
    let stalled = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let quick = Upstream::start(None, |_, framed| framed.answer_all()).await;
    let settings = format!(
        "[[forward]]\nzone = \".\"\nupstreams = [\"tls://{}#dns.example\"]\n[[forward]]\nzone = \"quick.example\"\nupstreams = [\"tcp://{}\"]\n",
        stalled.local_addr().unwrap(),
        quick.address
    );
    let server = Pldns::start(&settings, &[]).await;
    let others = async {
        for number in 0..50 {
            let took = server.must_answer(&format!("n{number}.quick.example")).await;
            assert!(took < AT_ONCE, "{took:?}");
        }
    };
    let (reply, ()) = tokio::join!(server.ask("a.example"), others);
    reply.rcode("SERVFAIL");
}

#[tokio::test]
async fn a_reload_brings_other_authorities() {
    // The authority has the same name and a new key, as after its renewal.
    let (before, after) = (Authority::named("authority"), Authority::named("authority"));
    let tls = after.acceptor("dns.example", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |_, framed| framed.answer_all()).await;
    let target = format!("tls://{}#dns.example", upstream.address);
    let server = Pldns::with_upstream(&target, &[("ca.pem", &before.pem)]).await;
    server.logged("certificate of an unknown authority").await;
    server.reload(&[("ca.pem", &format!("{}{}", before.pem, after.pem))]).await;
    server.must_answer("first.example").await;
}

#[test]
fn a_check_names_the_file_that_is_no_authority() {
    let settings = "[tls]\nupstream_ca = \"ca.pem\"\n";
    let authority = Authority::new();
    check(settings, &[("ca.pem", &authority.pem)]).code(0);
    for (files, expected) in [
        (&[][..], "\"ca.pem\" cannot be read"),
        (&[("ca.pem", "no certificate")][..], "\"ca.pem\" holds no certificate"),
    ] {
        let ran = check(settings, files);
        ran.code(1).err_has(":7:15: error: ").err_has(expected);
    }
}

#[tokio::test]
async fn explain_asks_over_tls_and_names_what_is_wrong_with_a_certificate() {
    let authority = Authority::new();
    let tls = authority.acceptor("dns.example", Valid::Now, b"");
    let upstream = Upstream::start(Some(tls), |_, framed| framed.answer_all()).await;
    let target = format!("tls://{}#dns.example", upstream.address);
    let explanation = explain(&target, &authority.pem, "a.example").await;
    let step = explanation["steps"].as_array().unwrap().iter().find(|step| step["step"] == "upstream").unwrap();
    assert_eq!(
        (&step["over"], &step["rcode"], &step["upstream"]),
        (&"tls".into(), &"NOERROR".into(), &(&*target).into())
    );
    let address = super::message::address_of("a.example").to_string();
    assert!(explanation["answer"][0].as_str().unwrap().ends_with(&address), "{explanation:#}");
    for (target, cause, word) in [
        (format!("tls://{}#other.example", upstream.address), "upstream_certificate", "another name"),
        ("tls://127.0.0.1:9#dns.example".to_owned(), "upstream_unreachable", "refused"),
    ] {
        let explanation = explain(&target, &authority.pem, "a.example").await;
        assert_eq!(
            (&explanation["verdict"], &explanation["cause"]),
            (&"failed".into(), &cause.into()),
            "{explanation:#}"
        );
        assert!(explanation["reason"].as_str().unwrap().contains(word), "{explanation:#}");
    }
}
