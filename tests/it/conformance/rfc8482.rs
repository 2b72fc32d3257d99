use crate::common::cast::record;
use crate::common::{FakeAzureDns, Pldns, Query};

#[test]
fn s_4_2_any_is_answered_with_a_synthesized_hinfo() {
    let fake = FakeAzureDns::start();
    let records = record("a.example", "A", &["10.0.0.1", "10.0.0.2"]) + &record("a.example", "TXT", &[r#""text""#]);
    let server = Pldns::start(&fake.rule("."), &records);
    for query in [Query::new("a.example ANY"), Query::new("a.example ANY").tcp(), Query::new("a.example ANY").no_edns()]
    {
        let got = query.ask_at(server.address());
        got.rcode("NOERROR").aa().answers(&[r#"a.example * IN HINFO "RFC8482" """#]);
        assert!(got.bytes.len() < 100, "{} bytes", got.bytes.len());
    }
    assert!(fake.seen("a.example *").is_empty());
}

#[test]
fn s_4_2_any_at_an_alias_is_answered_with_the_alias() {
    let fake = FakeAzureDns::start();
    let records = record("c.example", "CNAME", &["a.example."]) + &record("a.example", "A", &["10.0.0.1"]);
    let server = Pldns::start(&fake.rule("."), &records);
    for query in [Query::new("c.example ANY"), Query::new("c.example ANY").tcp()] {
        let got = query.ask_at(server.address());
        got.rcode("NOERROR").aa().answers(&["c.example 10 IN CNAME a.example"]);
    }
    assert!(fake.seen("* *").is_empty());
}
