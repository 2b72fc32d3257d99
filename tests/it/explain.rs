//! `pldns explain` as a user runs it: from settings alone, asking a fake Azure DNS.

use crate::common::cast::record_with;
use crate::common::{Answer, FakeAzureDns, Play, Scratch, Script, cast, run};
use serde_json::Value;

const BLOB: &str = "acct.blob.core.windows.net";
const PRIVATE: &str = "acct.privatelink.blob.core.windows.net";

/// Settings and records in a directory of their own.
fn place(settings: &str, records: &str) -> Scratch {
    let dir = Scratch::new();
    dir.write("pldns.toml", &format!("{settings}\n[records]\nfiles = [\"records/*.toml\"]\n"));
    dir.write("records/r.toml", if records.is_empty() { "record = []\n" } else { records });
    dir
}

#[track_caller]
fn explain(dir: &Scratch, args: &[&str]) -> Value {
    let args = [&["explain", "-c", "pldns.toml", "--json"], args].concat();
    let ran = run(dir.path(), &args);
    serde_json::from_str(&ran.code(0).out).unwrap()
}

#[track_caller]
fn check(explanation: &Value, verdict: &str, cause: &str, words: &[&str]) {
    assert_eq!((&explanation["verdict"], &explanation["cause"]), (&verdict.into(), &cause.into()), "{explanation:#}");
    let text = format!("{} {}", explanation["reason"], explanation["fix"]);
    for word in words {
        assert!(text.contains(word), "{word} in {text}");
    }
}

fn step<'e>(explanation: &'e Value, word: &str) -> &'e Value {
    let steps = explanation["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == word).unwrap_or_else(|| panic!("no {word} in {explanation:#}"))
}

/// The public chain of a storage account that has a private endpoint somewhere.
fn public_chain(fake: &FakeAzureDns) {
    let lines = [
        &*format!("{BLOB} 60 IN CNAME {PRIVATE}"),
        &format!("{PRIVATE} 60 IN CNAME blob.ams20.store.core.windows.net"),
        "blob.ams20.store.core.windows.net 60 IN A 20.60.1.1",
    ];
    fake.answer(&format!("{BLOB} A"), &lines);
}

#[test]
fn a_record_is_explained_with_file_and_line_without_a_query() {
    let fake = FakeAzureDns::start();
    let dir = place(&fake.rule("."), &cast::record(BLOB, "A", &["10.1.0.5"]));
    let explanation = explain(&dir, &[BLOB]);
    check(&explanation, "private", "record", &["records/r.toml:1"]);
    assert_eq!(explanation["answer"][0], format!("{BLOB}. 10 IN A 10.1.0.5"));
    assert_eq!(
        (&explanation["name"], &explanation["type"], &explanation["client"]),
        (&BLOB.into(), &"A".into(), &"127.0.0.1".into())
    );
    assert_eq!(explanation["fix"], Value::Null);
    assert_eq!(explain(&dir, &[BLOB, "aaaa"])["verdict"], "nodata");
    assert!(fake.seen(&format!("{BLOB} *")).is_empty());
}

#[test]
fn what_is_public_says_why_and_names_the_privatelink_name_without_a_record() {
    let fake = FakeAzureDns::start();
    public_chain(&fake);
    let explanation = explain(&place(&fake.rule("."), ""), &[BLOB]);
    check(&explanation, "public", "no_record", &[PRIVATE, "pldns generate"]);
    assert_eq!(step(&explanation, "privatelink")["name"], PRIVATE);
    let upstream = step(&explanation, "upstream");
    assert_eq!((&upstream["upstream"], &upstream["over"]), (&fake.address().to_string().into(), &"udp".into()));
    assert!(upstream["milliseconds"].as_f64().unwrap() > 0.0 && upstream["edns"] == true, "{upstream}");
    let hidden = record_with(BLOB, "A", &["10.1.0.5"], "clients = [\"10.40.0.0/16\"]");
    let dir = place(&fake.rule("."), &hidden);
    check(&explain(&dir, &[BLOB]), "public", "hidden_by_view", &["10.40.0.0/16", "r.toml:1"]);
    check(&explain(&dir, &[BLOB, "--client", "10.40.0.9"]), "private", "record", &[]);
    check(&explain(&dir, &[BLOB, "--client", "192.0.2.1"]), "refused", "access", &["192.0.2.1", "allow"]);
}

#[test]
fn a_linked_zone_that_shadows_the_name_is_told_from_a_name_that_does_not_exist() {
    let fake = FakeAzureDns::start();
    let shadow = Answer::negative("NXDOMAIN", "privatelink.blob.core.windows.net");
    let alias = format!("{BLOB} 60 IN CNAME {PRIVATE}");
    let mut answer = Answer::of(&[&alias]).rcode("NXDOMAIN");
    answer = answer
        .authority(&["privatelink.blob.core.windows.net 10 IN SOA azureprivatedns.net. h.microsoft.com. 1 2 3 4 5"]);
    fake.gives(&format!("{BLOB} A"), answer).gives(&format!("{PRIVATE} A"), shadow);
    fake.gives("nope.blob.core.windows.net A", Answer::negative("NXDOMAIN", "blob.core.windows.net"));
    let dir = place(&fake.rule("."), "");
    check(&explain(&dir, &[BLOB]), "nxdomain", "shadowed", &["privatelink.blob.core.windows.net", "unlink"]);
    check(&explain(&dir, &["nope.blob.core.windows.net"]), "nxdomain", "no_such_name", &["spelling"]);
}

#[test]
fn the_chain_is_followed_over_rules_and_names_who_answered() {
    let (fake, corp) = (FakeAzureDns::start(), FakeAzureDns::start());
    fake.answer("files.example A", &["files.example 60 IN CNAME nas.corp.example"]);
    corp.answer(
        "nas.corp.example A",
        &["nas.corp.example 60 IN CNAME nas1.corp.example", "nas1.corp.example 60 IN A 10.9.0.1"],
    );
    let settings = fake.rule(".") + &corp.rule("corp.example");
    let explanation = explain(&place(&settings, ""), &["files.example"]);
    check(&explanation, "private", "private_upstream", &[&corp.address().to_string()]);
    let by: Vec<_> = explanation["chain"].as_array().unwrap().iter().map(|link| link["by"].as_str().unwrap()).collect();
    assert!(by[0].contains(&fake.address().to_string()) && by[1].contains("corp.example"), "{by:?}");
}

#[test]
fn broken_upstreams_are_told_apart() {
    let silent = FakeAzureDns::start();
    silent.be_silent(true);
    let dir = place(&silent.rule("."), "");
    check(&explain(&dir, &["a.example"]), "failed", "upstream_timeout", &["does not respond", "firewall"]);

    let refusing = FakeAzureDns::start();
    refusing.gives("a.example A", Answer::of(&[]).rcode("REFUSED"));
    check(
        &explain(&place(&refusing.rule("."), ""), &["a.example"]),
        "failed",
        "upstream_refused",
        &["REFUSED", "Allow"],
    );

    let truncating = FakeAzureDns::start_without_tcp();
    truncating.gives("a.example A", Answer::of(&[]).flag(crate::common::dns::TC));
    check(&explain(&place(&truncating.rule("."), ""), &["a.example"]), "failed", "upstream_truncated", &["TCP"]);

    let plain = FakeAzureDns::start();
    let answers = Play::answers(&["a.example 60 IN A 192.0.2.1"]);
    plain.on("a.example A", Script::udp([Play::silence(), Play::silence(), answers]));
    check(&explain(&place(&plain.rule("."), ""), &["a.example"]), "public", "upstream_without_edns", &["EDNS"]);

    let formerr = FakeAzureDns::start();
    let formal = Play::of(Answer::of(&[]).rcode("FORMERR").without_opt());
    formerr.on("a.example A", Script::udp([formal, Play::answers(&["a.example 60 IN A 192.0.2.1"])]));
    check(&explain(&place(&formerr.rule("."), ""), &["a.example"]), "public", "upstream_without_edns", &["EDNS"]);

    let gone = format!("[[forward]]\nzone = \".\"\nupstreams = [\"{}\"]\n", crate::common::fake::dead_address());
    check(&explain(&place(&gone, ""), &["a.example"]), "failed", "upstream_unreachable", &["[[forward]]"]);
}

#[test]
fn resolvers_are_compared_side_by_side() {
    let (fake, public) = (FakeAzureDns::start(), FakeAzureDns::start());
    public_chain(&public);
    let dir = place(&fake.rule("."), &cast::record(BLOB, "A", &["10.1.0.5"]));
    let other = Scratch::new();
    let own = crate::common::Pldns::start(&fake.rule("."), &cast::record(BLOB, "A", &["10.1.0.5"]));
    let (same, different) = (own.address().to_string(), public.address().to_string());
    let explanation = explain(&dir, &[BLOB, "--compare", &same, "--compare", &different]);
    let compare = explanation["compare"].as_array().unwrap();
    assert_eq!((&compare[0]["server"], &compare[0]["same"]), (&same.clone().into(), &true.into()), "{explanation:#}");
    assert_eq!((&compare[1]["server"], &compare[1]["same"]), (&different.clone().into(), &false.into()));
    let lines: Vec<_> = compare[1]["answer"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(lines.len(), 3, "each with its chain: {lines:?}");
    assert!(lines[2].contains("20.60.1.1"), "{lines:?}");
    let negative = explain(&dir, &[BLOB, "AAAA", "--compare", &same]);
    assert_eq!(negative["compare"][0]["same"], true, "{negative:#}");
    fake.gives("broken.example A", Answer::of(&[]).rcode("SERVFAIL"));
    let failure = explain(&dir, &["broken.example", "--compare", &same, "--compare", &different]);
    let compare = failure["compare"].as_array().unwrap();
    assert_eq!((&compare[0]["same"], &compare[0]["answer"][0]), (&true.into(), &"SERVFAIL".into()), "{failure:#}");
    assert_eq!(compare[1]["same"], false, "{failure:#}");
    run(other.path(), &["explain", BLOB, "--compare", "dns.example"]).code(2);
    own.stop();
}

#[test]
fn text_fits_a_terminal_and_has_no_colour_in_a_pipe() {
    let fake = FakeAzureDns::start();
    public_chain(&fake);
    let dir = place(&fake.rule("."), "");
    let ran = run(dir.path(), &["explain", "-c", "pldns.toml", BLOB]);
    let text = &ran.code(0).out;
    assert!(text.starts_with(&format!("{BLOB} A: public\n")), "{text}");
    assert!(text.contains("\nreason ") && text.contains("\nfix ") && text.contains("\nprivatelink "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn what_cannot_be_explained_is_an_error() {
    let dir = Scratch::new();
    dir.write("pldns.toml", "[listen]\ndsn = []\n");
    let ran = run(dir.path(), &["explain", "-c", "pldns.toml", BLOB]);
    assert!(ran.code(1).err.contains("dsn"), "{}", ran.err);
    for args in [
        &["explain"][..],
        &["explain", "a..b"],
        &["explain", BLOB, "NOTYPE"],
        &["explain", BLOB, "--server", "https://x"],
    ] {
        run(dir.path(), args).code(2);
    }
    let nobody = format!("http://{}", crate::common::fake::dead_address());
    let ran = run(dir.path(), &["explain", BLOB, "--server", &nobody]);
    assert!(ran.code(1).err.contains(&nobody), "{}", ran.err);
}
