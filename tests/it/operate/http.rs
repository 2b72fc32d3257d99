//! The health and admin listeners: who gets in, and what is there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use privatelink_dns::admin::{OPENAPI, ROUTES};
use serde_json::Value;

use super::server::{RECORDS, SOON, Scratch, Server, request, settings, try_request};
use crate::common::FakeAzureDns;

#[test]
fn the_health_listener_has_two_pages_and_no_more() {
    let server = Server::start("");
    let health = server.address("health");
    assert_eq!(request(health, "GET", "/healthz", &[]).status, 200);
    // The load balancer's probe names the machine's address as it likes.
    let ready = request(health, "GET", "/readyz", &["Host: anything"]);
    assert_eq!(ready.status, 200);
    let body = ready.json();
    assert_eq!((&body["status"], &body["reload"]["state"]), (&"ready".into(), &"ok".into()));
    assert_eq!(body["reload"]["records"], 1);
    for (_, path, _) in ROUTES.iter().filter(|(_, _, with_token)| *with_token) {
        assert_eq!(request(health, "GET", path, &[]).status, 404, "{path}");
    }
    server.stop();
}

#[test]
fn dead_upstreams_are_told_and_change_nothing() {
    let server = Server::start("");
    for n in 0..6 {
        super::server::ask(server.dns, &format!("dead-{n}.example"));
    }
    let end = Instant::now() + SOON;
    loop {
        let reply = server.get("admin", "/readyz");
        assert_eq!(reply.status, 200);
        if reply.json()["upstreams"][0]["state"] == "down" {
            break;
        }
        assert!(Instant::now() < end, "{reply:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.stop();
}

#[test]
fn the_document_describes_the_routes() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut described: Vec<(String, String)> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    let mut routes: Vec<_> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    described.sort();
    routes.sort();
    assert_eq!(described, routes);
    for (method, path, with_token) in ROUTES {
        let security = document["paths"][path][method]["security"].as_array().unwrap();
        assert_eq!(!security.is_empty(), with_token, "{path}");
    }
}

#[test]
fn every_route_answers_as_it_is_described() {
    let server = Server::start("");
    let document = server.get("admin", "/openapi.json").json();
    for (method, path, _) in ROUTES {
        let target = match path {
            "/log" => "/log?level=info",
            "/cache/flush" => "/cache/flush?name=a.example",
            "/explain" => "/explain?name=a.example",
            path => path,
        };
        let reply = request(server.address("admin"), &method.to_uppercase(), target, &["X-Pldns: 1"]);
        let described = &document["paths"][path][method]["responses"][reply.status.to_string()];
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let Some(content) = described["content"].as_object() else { panic!("{path}: {described}") };
        if let Some(json) = content.get("application/json") {
            fits(&reply.json(), &json["schema"], &document, path);
        }
        let other = if method == "get" { "DELETE" } else { "GET" };
        assert_eq!(request(server.address("admin"), other, target, &["X-Pldns: 1"]).status, 405);
    }
    server.stop();
}

#[test]
fn wrong_parameters_are_told_as_the_document_says() {
    let server = Server::start("");
    let document = server.get("admin", "/openapi.json").json();
    for (method, path, target) in [
        ("get", "/records", "/records?count=x"),
        ("get", "/records", "/records?offset=-1"),
        ("get", "/explain", "/explain"),
        ("post", "/log", "/log?level=loud"),
        ("post", "/cache/flush", "/cache/flush?nam=a"),
    ] {
        let reply = request(server.address("admin"), &method.to_uppercase(), target, &["X-Pldns: 1"]);
        assert_eq!(reply.status, 400, "{target}: {reply:?}");
        let described = &document["paths"][path][method]["responses"]["400"]["content"]["application/json"]["schema"];
        fits(&reply.json(), described, &document, target);
    }
    server.stop();
}

/// Checks what the document uses of JSON schema.
#[track_caller]
pub(crate) fn fits(value: &Value, schema: &Value, document: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return fits(value, &document["components"]["schemas"][name], document, place);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => value.is_null(),
    };
    assert!(kinds.iter().any(|kind| is(kind)), "{place}: {value} is not {kinds:?}");
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(object.contains_key(required.as_str().unwrap()), "{place}: {required} is missing");
        }
        for (key, value) in object {
            assert!(properties.contains_key(key), "{place}: {key} is not described");
            fits(value, &properties[key], document, &format!("{place} {key}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], document, place);
    }
}

#[test]
fn records_come_page_by_page() {
    let server = Server::start("");
    let page = server.get("admin", "/records?limit=1").json();
    assert_eq!(page["sets"][0]["name"], "a.example");
    assert_eq!(page["sets"][0]["data"][0], "10.0.0.1");
    assert_eq!(page["sets"][0]["type"], "A");
    let next = server.get("admin", "/records?offset=1").json();
    assert_eq!(next["sets"].as_array().unwrap().len(), 0);
    assert_eq!(server.get("admin", "/records?limit=x").status, 400);
    assert_eq!(server.get("admin", "/records?lmit=1").status, 400);
    server.stop();
}

#[test]
fn a_foreign_host_is_turned_away_on_loopback() {
    let server = Server::start("");
    let admin = server.address("admin");
    for host in ["Host: evil.example", "Host: localhost.evil.example", "Host: 10.0.0.4:8053"] {
        let reply = request(admin, "GET", "/metrics", &[host]);
        assert_eq!(reply.status, 421, "{host}");
        assert!(!reply.head.contains("access-control-"), "no CORS");
    }
    assert_eq!(request(admin, "GET", "/metrics", &["Host: localhost:1"]).status, 200);
    server.stop();
}

#[test]
fn pages_of_other_sites_cannot_change_anything() {
    let server = Server::start("");
    let admin = server.address("admin");
    let own = "X-Pldns: 1";
    for headers in [
        &[][..],
        &["X-Pldns: 2"],
        &[own, "Origin: http://127.0.0.1"],
        &[own, "Origin: null"],
        &[own, "Sec-Fetch-Site: cross-site"],
        &[own, "Sec-Fetch-Site: same-site"],
    ] {
        assert_eq!(request(admin, "POST", "/reload", headers).status, 403, "{headers:?}");
    }
    let preflight = request(admin, "OPTIONS", "/reload", &["Origin: http://evil.example"]);
    assert!(preflight.status >= 400 && !preflight.head.contains("access-control-"), "{preflight:?}");
    assert_eq!(server.get("admin", "/readyz").json()["reload"]["generation"], 0);
    assert_eq!(request(admin, "POST", "/reload", &[own]).status, 200);
    assert_eq!(server.get("admin", "/readyz").json()["reload"]["generation"], 1);
    server.stop();
}

#[test]
fn a_token_is_demanded_where_there_is_one() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("token", "s3cret\n");
    dir.write("pldns.toml", &settings("[admin]\ntoken_file = \"token\"\n"));
    let server = Server::start_in(dir.clone(), |_| {});
    let admin = server.address("admin");
    for (method, path, with_token) in ROUTES {
        let status = |headers: &[&str]| request(admin, &method.to_uppercase(), path, headers).status;
        let refused = if with_token { 401 } else { 200 };
        assert_eq!(status(&["X-Pldns: 1"]), refused, "{path}");
        assert_eq!(status(&["X-Pldns: 1", "Authorization: Bearer s3cres"]), refused, "{path}");
        let with = status(&["Authorization: Bearer s3cret"]);
        assert!(with == 200 || (["/log", "/explain", "/cache/flush"].contains(&path) && with == 400), "{path}: {with}");
    }
    // A token that is changed counts without a restart.
    dir.write("token", "another\n");
    let end = Instant::now() + SOON;
    while request(admin, "GET", "/cache", &["Authorization: Bearer another"]).status != 200 {
        assert!(Instant::now() < end);
    }
    assert_eq!(request(admin, "GET", "/cache", &["Authorization: Bearer s3cret"]).status, 401);
    server.stop();
}

#[test]
fn an_open_admin_listener_without_a_token_is_refused() {
    let dir = Scratch::new();
    dir.write("pldns.toml", "[listen]\nadmin = \"0.0.0.0:0\"\n");
    let check = || {
        let command = &mut Command::new(env!("CARGO_BIN_EXE_pldns"));
        command.args(["check", "-c"]).arg(dir.path().join("pldns.toml")).output().unwrap()
    };
    let refused = check();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("pldns.toml:2:1: error: 0.0.0.0:0 is not a loopback address"), "{said}");
    dir.write("token", "s3cret");
    dir.write("pldns.toml", "[listen]\nadmin = \"0.0.0.0:0\"\n[admin]\ntoken_file = \"token\"\n");
    assert!(check().status.success());
}

#[test]
fn connections_and_heads_are_bounded() {
    let server = Server::start("");
    let admin = server.address("admin");
    let long = format!("X-Long: {}", "x".repeat(9000));
    let reply = try_request(admin, "GET", "/cache", &[&long]);
    assert!(reply.is_none_or(|reply| reply.status == 431), "a head of 9 KiB");
    let idle: Vec<TcpStream> = (0..110).map(|_| TcpStream::connect(admin).unwrap()).collect();
    let closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        matches!(stream.read(&mut [0]), Ok(0)) || stream.write_all(b"x").is_err()
    };
    let end = Instant::now() + SOON;
    while idle.iter().filter(|stream| closed(stream)).count() < 10 {
        assert!(Instant::now() < end);
    }
    // Who says nothing is put out, and there is room again.
    while try_request(admin, "GET", "/cache", &[]).is_none_or(|reply| reply.status != 200) {
        assert!(Instant::now() < end, "no place again");
    }
    server.stop();
}

#[test]
fn the_body_is_bounded() {
    let server = Server::start("");
    let mut stream = TcpStream::connect(server.address("admin")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(
            format!(
                "POST /reload HTTP/1.1\r\nHost: localhost\r\nX-Pldns: 1\r\nContent-Length: {}\r\n\r\n",
                (64 << 10) + 1
            )
            .as_bytes(),
        )
        .unwrap();
    let mut status = [0; 12];
    let chunk = [b'x'; 1 << 16];
    for _ in 0..17 {
        let _ = stream.write_all(&chunk);
    }
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    server.stop();
}

#[test]
fn the_default_address_may_be_taken_and_another_may_not() {
    // Nobody else may hold the default address while this test does.
    let taken = TcpListener::bind("127.0.0.1:8053");
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("pldns.toml", &settings("[listen]\ndns = [\"127.0.0.1:0\"]\nhealth = \"127.0.0.1:0\"\ndrain = \"0s\"\n"));
    let server = Server::start_in(dir.clone(), |_| {});
    assert_eq!(super::server::ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
    let events = server.events();
    assert!(
        events.iter().any(|event| event["level"] == "WARN"
            && event["message"].as_str().unwrap_or_default().starts_with("admin listener disabled")),
        "{events:#?}"
    );
    server.stop();
    drop(taken);
    let taken: TcpListener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    dir.write("pldns.toml", &settings(&format!("[listen]\ndns = [\"127.0.0.1:0\"]\nadmin = \"{address}\"\n")));
    let mut refused = Server::spawn_in(dir, |_| {});
    refused.wait_for(&format!("cannot listen on {address} ([listen] admin)"));
    assert_eq!(refused.wait_exit().code(), Some(1));
}

#[test]
fn a_flood_of_idle_connections_leaves_the_probe_alone() {
    let server = Server::start("");
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let mut flood = Vec::new();
    for _ in 0..10_000 {
        match TcpStream::connect(server.dns) {
            Ok(stream) => flood.push(stream),
            Err(_) => break,
        }
    }
    for (n, stream) in flood.iter_mut().enumerate() {
        if n % 2 == 0 {
            let _ = stream.write_all(&[0]);
        }
    }
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(server.get("health", "/readyz").status, 200);
        assert_eq!(super::server::ask(server.dns, "a.example"), Some([10, 0, 0, 1]));
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    assert!(flood.len() > 1000, "{} connections are no flood", flood.len());
    drop(flood);
    server.stop();
}

#[test]
fn a_flushed_name_is_asked_for_again() {
    let upstream = FakeAzureDns::start();
    upstream.answer("x.test-corp.example A", &["x.test-corp.example 60 IN A 192.0.2.1"]);
    let server = Server::start(&upstream.rule("."));
    let admin = server.address("admin");
    let ask = || assert_eq!(super::server::ask(server.dns, "x.test-corp.example"), Some([192, 0, 2, 1]));
    ask();
    ask();
    let asked = || upstream.seen("x.test-corp.example A").len();
    assert_eq!(asked(), 1, "the second comes from the cache");
    let flush = |name: &str| request(admin, "POST", &format!("/cache/flush?name={name}"), &["X-Pldns: 1"]);
    assert_eq!(flush("other.example").json()["removed"], 0);
    let reply = flush("X.Test-Corp.example");
    assert_eq!((reply.status, &reply.json()["removed"]), (200, &1.into()));
    ask();
    assert_eq!(asked(), 2);
    assert_eq!(flush("a..b").status, 400);
    assert_eq!(request(admin, "POST", "/cache/flush?name=a.example", &[]).status, 403);
    server.stop();
}
