//! CNAME chains: within the table, out of it through the rules, and from an upstream's answer back into it.

use crate::common::cast::{GUID, RECORDS, record, zone};
use crate::common::{Answer, FakeAzureDns, Pldns, Query, dns};

const PUBLIC: &str = "acct.blob.core.windows.net";
const PRIVATE: &str = "acct.privatelink.blob.core.windows.net";
const STAMP: &str = "blob.stamp.store.core.windows.net";

/// What the public DNS says of a storage account that has an endpoint.
fn public_chain() -> [String; 3] {
    [
        format!("{PUBLIC} 60 IN CNAME {PRIVATE}"),
        format!("{PRIVATE} 60 IN CNAME {STAMP}"),
        format!("{STAMP} 60 IN A 20.60.1.1"),
    ]
}

fn storage(fake: &FakeAzureDns) {
    let chain = public_chain();
    fake.answer(&format!("{PUBLIC} A"), &chain.each_ref().map(String::as_str));
    let aaaa = [&chain[0][..], &chain[1], &format!("{STAMP} 60 IN AAAA 2001:db8::1")];
    fake.answer(&format!("{PUBLIC} AAAA"), &aaaa);
}

#[test]
fn aliases_are_followed_within_the_table() {
    let fake = FakeAzureDns::start();
    let records = record("a.example", "CNAME", &["b.example."])
        + &record("b.example", "CNAME", &["c.example."])
        + &record("c.example", "A", &["10.0.0.1"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("a.example A").rcode("NOERROR").aa().ra().answers(&[
        "a.example 10 IN CNAME b.example",
        "b.example 10 IN CNAME c.example",
        "c.example 10 IN A 10.0.0.1",
    ]);
    // The end of the chain lacks the type: the chain, and NODATA of the end.
    server
        .ask("a.example AAAA")
        .rcode("NOERROR")
        .aa()
        .answers(&["a.example 10 IN CNAME b.example", "b.example 10 IN CNAME c.example"])
        .soa("c.example", 10);
}

#[test]
fn an_alias_leads_out_of_the_table_through_the_rules() {
    let fake = FakeAzureDns::start();
    fake.answer("www.example A", &["www.example 60 IN CNAME web.example", "web.example 30 IN A 192.0.2.1"]);
    fake.gives("none.example A", Answer::negative("NXDOMAIN", "example"));
    let records = record("a.test", "CNAME", &["www.example."]) + &record("b.test", "CNAME", &["none.example."]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("a.test A").rcode("NOERROR").aa().answers(&[
        "a.test 10 IN CNAME www.example",
        "www.example 60 IN CNAME web.example",
        "web.example 30 IN A 192.0.2.1",
    ]);
    let missing = server.ask("b.test A");
    missing.rcode("NXDOMAIN").aa().answers(&["b.test 10 IN CNAME none.example"]);
    assert_eq!(missing.message.authorities.len(), 1, "the upstream's SOA: {}", missing.message);
}

#[test]
fn without_recursion_desired_an_alias_stands_alone() {
    let fake = FakeAzureDns::start();
    let records = record("out.test", "CNAME", &["www.example."])
        + &record("in.test", "CNAME", &["c.test."])
        + &record("c.test", "A", &["10.0.0.1"]);
    let server = Pldns::start(&fake.rule("."), &records);
    let ask = |question: &str| Query::new(question).no_rd().ask_at(server.address());
    ask("out.test A").rcode("NOERROR").aa().answers(&["out.test 10 IN CNAME www.example"]);
    ask("in.test A").rcode("NOERROR").aa().answers(&["in.test 10 IN CNAME c.test", "c.test 10 IN A 10.0.0.1"]);
    assert!(fake.seen("www.example *").is_empty());
}

#[test]
fn a_query_for_the_alias_itself_is_never_chased() {
    let fake = FakeAzureDns::start();
    fake.answer(&format!("{PUBLIC} CNAME"), &[&public_chain()[0]]);
    let records = record("a.test", "CNAME", &["b.test."]) + &record(PRIVATE, "A", &["10.1.0.9"]);
    let server = Pldns::start(&fake.rule("."), &records);
    server.ask("a.test CNAME").rcode("NOERROR").aa().answers(&["a.test 10 IN CNAME b.test"]);
    server.ask(&format!("{PUBLIC} CNAME")).rcode("NOERROR").answers(&[&public_chain()[0]]);
}

#[test]
fn loops_within_the_table_fail_with_a_reason() {
    let fake = FakeAzureDns::start();
    let records = record("self.test", "CNAME", &["self.test."])
        + &record("a.test", "CNAME", &["b.test."])
        + &record("b.test", "CNAME", &["a.test."])
        + &record("c.test", "CNAME", &["a.test."]);
    let server = Pldns::start(&fake.rule("."), &records);
    for name in ["self.test", "a.test", "c.test"] {
        let got = server.ask(&format!("{name} A"));
        got.rcode("SERVFAIL").some_ede().before_deadline();
    }
}

#[test]
fn a_loop_across_table_and_upstream_fails_with_a_reason() {
    let fake = FakeAzureDns::start();
    fake.answer("out.example A", &["out.example 60 IN CNAME in.test"]);
    let server = Pldns::start(&fake.rule("."), &record("in.test", "CNAME", &["out.example."]));
    for name in ["in.test", "out.example"] {
        server.ask(&format!("{name} A")).rcode("SERVFAIL").some_ede();
    }
    assert!(fake.seen("out.example A").len() <= 4, "asked {} times", fake.seen("out.example A").len());
}

#[test]
fn sixteen_aliases_are_followed_and_seventeen_are_not() {
    let fake = FakeAzureDns::start();
    let mut records = record("n0.test", "A", &["10.0.0.1"]);
    for n in 1..=17 {
        records += &record(&format!("n{n}.test"), "CNAME", &[&format!("n{}.test.", n - 1)]);
    }
    let server = Pldns::start(&fake.rule("."), &records);
    let longest = server.ask("n16.test A");
    longest.rcode("NOERROR").answer("n0.test 10 IN A 10.0.0.1");
    assert_eq!(longest.message.answers.len(), 17, "{}", longest.message);
    server.ask("n17.test A").rcode("SERVFAIL").some_ede().no_answers();
}

#[test]
fn an_upstreams_chain_is_cut_at_the_first_name_of_the_table() {
    let fake = FakeAzureDns::start();
    storage(&fake);
    let server = Pldns::start(&fake.rule("."), &record(PRIVATE, "A", &["10.1.0.9"]));
    for transport in ["fresh", "cached"] {
        let got = server.ask(&format!("{PUBLIC} A"));
        got.rcode("NOERROR").no_aa().ra();
        got.answers(&[public_chain()[0].replace(" 60 ", " * "), format!("{PRIVATE} 10 IN A 10.1.0.9")]);
        let shown = got.message.to_string();
        assert!(!shown.contains("20.60.1.1") && !shown.contains("stamp"), "{transport}: {shown}");
    }
    assert_eq!(fake.seen(&format!("{PUBLIC} A")).len(), 1, "the second answer comes from the cache");
}

#[test]
fn a_cut_chain_may_end_in_nodata_and_no_public_address_slips_through() {
    let fake = FakeAzureDns::start();
    storage(&fake);
    let server = Pldns::start(&fake.rule("."), &record(PRIVATE, "A", &["10.1.0.9"]));
    let got = server.ask(&format!("{PUBLIC} AAAA"));
    got.rcode("NOERROR").no_aa().answers(&[&public_chain()[0]]).soa(PRIVATE, 10);
    assert!(!got.message.to_string().contains("2001:db8"), "{}", got.message);
}

#[test]
fn wildcards_and_partial_wildcards_are_targets_too() {
    let fake = FakeAzureDns::start();
    let endpoint = "ep1.westus.inference.ml.azure.com";
    let target = format!("ep1.{GUID}.inference.eastus.privatelink.api.azureml.ms");
    let notebook = format!("ml-x-eastus-{GUID}.eastus.notebooks.azure.net");
    fake.answer(
        &format!("{endpoint} A"),
        &[&format!("{endpoint} 60 IN CNAME {target}"), &format!("{target} 60 IN A 20.1.2.3")],
    );
    fake.answer(
        "nb.example A",
        &[&format!("nb.example 60 IN CNAME {notebook}"), &format!("{notebook} 60 IN A 20.1.2.4")],
    );
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server
        .ask(&format!("{endpoint} A"))
        .no_aa()
        .answers(&[format!("{endpoint} 60 IN CNAME {target}"), format!("{target} 10 IN A 10.1.0.7")]);
    server
        .ask("nb.example A")
        .answers(&[format!("nb.example 60 IN CNAME {notebook}"), format!("{notebook} 10 IN A 10.1.0.6")]);
}

#[test]
fn the_target_may_be_deep_in_the_chain_and_in_another_case() {
    let fake = FakeAzureDns::start();
    fake.answer(
        "a.example A",
        &[
            "a.example 60 IN CNAME b.example",
            "b.example 50 IN CNAME P.PrivateLink.Example",
            "P.PrivateLink.Example 40 IN CNAME public.example",
            "public.example 30 IN A 192.0.2.1",
        ],
    );
    let server = Pldns::start(&fake.rule("."), &record("p.privatelink.example", "A", &["10.0.0.1"]));
    server.ask("a.example A").no_aa().answers(&[
        "a.example 60 IN CNAME b.example",
        "b.example 50 IN CNAME p.privatelink.example",
        "p.privatelink.example 10 IN A 10.0.0.1",
    ]);
}

#[test]
fn a_chain_may_go_from_upstream_to_table_to_upstream() {
    let fake = FakeAzureDns::start();
    fake.answer("a.example A", &["a.example 60 IN CNAME mid.test", "mid.test 60 IN A 192.0.2.9"]);
    fake.answer("end.example A", &["end.example 30 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), &record("mid.test", "CNAME", &["end.example."]));
    server.ask("a.example A").rcode("NOERROR").no_aa().answers(&[
        "a.example 60 IN CNAME mid.test",
        "mid.test 10 IN CNAME end.example",
        "end.example 30 IN A 192.0.2.1",
    ]);
}

#[test]
fn an_upstreams_nxdomain_behind_a_name_of_the_table_does_not_count() {
    let fake = FakeAzureDns::start();
    let negative = Answer::of(&[&public_chain()[0]]).rcode("NXDOMAIN").authority(&[
        "privatelink.blob.core.windows.net 10 IN SOA azureprivatedns.net host.example 1 3600 300 2419200 10",
    ]);
    fake.gives(&format!("{PUBLIC} A"), negative);
    let server = Pldns::start(&fake.rule("."), &record(PRIVATE, "A", &["10.1.0.9"]));
    server
        .ask(&format!("{PUBLIC} A"))
        .rcode("NOERROR")
        .answers(&[public_chain()[0].clone(), format!("{PRIVATE} 10 IN A 10.1.0.9")])
        .authority::<&str>(&[]);
}

#[test]
fn a_chain_into_a_zone_of_our_own_without_a_record_ends_there() {
    let fake = FakeAzureDns::start();
    storage(&fake);
    let settings = zone("privatelink.blob.core.windows.net", "nxdomain") + &fake.rule(".");
    let server = Pldns::start(&settings, "");
    let got = server.ask(&format!("{PUBLIC} A"));
    got.rcode("NXDOMAIN").answers(&[&public_chain()[0]]).soa("privatelink.blob.core.windows.net", 10);
    assert!(!got.message.to_string().contains("20.60.1.1"), "{}", got.message);
}

#[test]
fn a_chain_past_the_table_goes_through_whole() {
    let fake = FakeAzureDns::start();
    storage(&fake);
    let settings = zone("privatelink.blob.core.windows.net", "forward") + &fake.rule(".");
    let server = Pldns::start(&settings, &record("other.privatelink.blob.core.windows.net", "A", &["10.1.0.9"]));
    server.ask(&format!("{PUBLIC} A")).rcode("NOERROR").answers(&public_chain());
}

#[test]
fn ad_is_cleared_on_a_cut_chain_only() {
    let fake = FakeAzureDns::start();
    let chain = public_chain();
    let answer = Answer::of(&chain.each_ref().map(String::as_str)).flag(dns::AD);
    fake.gives(&format!("{PUBLIC} A"), answer);
    fake.gives("whole.example A", Answer::of(&["whole.example 60 IN A 192.0.2.1"]).flag(dns::AD));
    let server = Pldns::start(&fake.rule("."), &record(PRIVATE, "A", &["10.1.0.9"]));
    let ask = |question: &str| Query::new(question).flag(dns::AD).ask_at(server.address());
    ask(&format!("{PUBLIC} A")).no_ad().answer(&format!("{PRIVATE} 10 IN A 10.1.0.9"));
    ask("whole.example A").ad();
}

#[test]
fn records_beside_the_chain_cannot_lead_it_astray() {
    let fake = FakeAzureDns::start();
    // The answer's chain is a.example -> b.example; the record of c.example belongs to nobody.
    fake.answer(
        "a.example A",
        &["a.example 60 IN CNAME b.example", "b.example 60 IN A 192.0.2.1", "c.example 60 IN CNAME p.test"],
    );
    let server = Pldns::start(&fake.rule("."), &record("p.test", "A", &["10.0.0.1"]));
    let got = server.ask("a.example A");
    got.rcode("NOERROR").answer("b.example 60 IN A 192.0.2.1");
    assert!(!got.message.to_string().contains("10.0.0.1"), "{}", got.message);
}

#[test]
fn the_order_of_an_upstreams_chain_does_not_matter() {
    let fake = FakeAzureDns::start();
    let chain = public_chain();
    fake.answer(&format!("{PUBLIC} A"), &[&chain[2], &chain[1], &chain[0]]);
    let server = Pldns::start(&fake.rule("."), &record(PRIVATE, "A", &["10.1.0.9"]));
    let got = server.ask(&format!("{PUBLIC} A"));
    got.answer(&chain[0]).answer(&format!("{PRIVATE} 10 IN A 10.1.0.9"));
    assert_eq!(got.message.answers.len(), 2, "{}", got.message);
}

#[test]
fn cached_chains_follow_the_table_when_it_changes() {
    let fake = FakeAzureDns::start();
    storage(&fake);
    let mut server = Pldns::start(&fake.rule("."), "");
    let question = format!("{PUBLIC} A");
    let chain = public_chain();
    let any_ttl = |line: &String| line.replacen(" 60 ", " * ", 1);
    server.ask(&question).answers(&chain);
    server.reload(&record(PRIVATE, "A", &["10.1.0.9"]));
    server.ask(&question).answers(&[any_ttl(&chain[0]), format!("{PRIVATE} 10 IN A 10.1.0.9")]);
    server.reload(&record(PRIVATE, "A", &["10.1.0.10"]));
    server.ask(&question).answers(&[any_ttl(&chain[0]), format!("{PRIVATE} 10 IN A 10.1.0.10")]);
    server.reload(&record("other.example", "A", &["10.1.0.9"]));
    server.ask(&question).answers(&chain.each_ref().map(any_ttl));
    assert_eq!(fake.seen(&question).len(), 1, "all but the first come from the cache");
}

#[test]
fn an_alias_into_a_zone_of_our_own_without_a_record_ends_there() {
    let fake = FakeAzureDns::start();
    let settings = zone("corp.example", "nxdomain") + &fake.rule(".");
    let server = Pldns::start(&settings, &record("a.test", "CNAME", &["none.corp.example."]));
    let got = server.ask("a.test A");
    got.rcode("NXDOMAIN").aa().answers(&["a.test 10 IN CNAME none.corp.example"]).soa("corp.example", 10);
    assert!(fake.seen("none.corp.example *").is_empty());
}

#[test]
fn without_recursion_desired_the_cache_adds_nothing_to_an_alias() {
    let fake = FakeAzureDns::start();
    fake.answer("www.example A", &["www.example 60 IN A 192.0.2.1"]);
    let server = Pldns::start(&fake.rule("."), &record("out.test", "CNAME", &["www.example."]));
    server.ask("out.test A").answer("www.example 60 IN A 192.0.2.1");
    let got = Query::new("out.test A").no_rd().ask_at(server.address());
    got.rcode("NOERROR").aa().answers(&["out.test 10 IN CNAME www.example"]);
}

#[test]
fn a_chain_that_the_upstream_leaves_open_is_led_into_the_table_all_the_same() {
    let fake = FakeAzureDns::start();
    fake.answer(&format!("{PUBLIC} A"), &[&public_chain()[0]]);
    let server = Pldns::start(&fake.rule("."), &record(PRIVATE, "A", &["10.1.0.9"]));
    server
        .ask(&format!("{PUBLIC} A"))
        .rcode("NOERROR")
        .answers(&[public_chain()[0].clone(), format!("{PRIVATE} 10 IN A 10.1.0.9")]);
}

#[test]
fn a_long_chain_of_an_upstream_is_led_into_the_table_or_fails() {
    let fake = FakeAzureDns::start();
    let mut lines: Vec<String> = (0..40).map(|n| format!("n{n}.example 60 IN CNAME n{}.example", n + 1)).collect();
    lines.push("n40.example 60 IN CNAME p.test".to_owned());
    lines.push("p.test 60 IN A 192.0.2.1".to_owned());
    fake.answer("n0.example A", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Pldns::start(&fake.rule("."), &record("p.test", "A", &["10.0.0.1"]));
    // However long a chain may be: what never comes out is the public address behind the table's name.
    let got = server.ask("n0.example A");
    assert!(!got.message.to_string().contains("192.0.2.1"), "{}", got.message);
    if got.message.rcode() == 0 {
        got.answer("p.test 10 IN A 10.0.0.1");
    } else {
        got.rcode("SERVFAIL").some_ede();
    }
}
