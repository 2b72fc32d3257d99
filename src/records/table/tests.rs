//! What the table says, name by name.

use super::*;
use crate::document::{Problems, SourceText};
use crate::records::{TableSettings, Zone, compile, read_records};
use crate::wire::Section;

fn table_of(text: &str, zones: &[(&str, Missing)]) -> (Table, Problems) {
    let source = SourceText::new("records.toml", text);
    let mut problems = Problems::default();
    let packs = read_records(&source, 0, &mut problems);
    let zones: Vec<_> =
        zones.iter().map(|&(apex, missing)| Zone { apex: Name::parse(apex).unwrap(), missing }).collect();
    let table = compile(&packs, &zones, TableSettings { ttl: 10 }, vec![source], &mut problems);
    (table, problems)
}

fn record(name: &str, rtype: &str, data: &str) -> String {
    format!("[[record]]\nname = {name:?}\ntype = {rtype:?}\ndata = {data:?}\n")
}

/// What the table says, in a word.
fn ask(table: &Table, name: &str, qtype: Rtype, client: &str) -> String {
    let name = Name::parse(name).unwrap().to_lowercase();
    let show_soa = |soa: Soa<'_>| soa.to_record(&name, Section::Authority).unwrap().owner.to_string();
    match table.lookup(name.as_wire(), qtype, client.parse().unwrap()) {
        Lookup::Answer(rrset, how) => {
            format!("{how:?} {:?}", rrset.iter().map(|(_, data)| data.to_vec()).collect::<Vec<_>>())
        }
        Lookup::Alias(..) => "alias".to_owned(),
        Lookup::Pointers(pointers) => {
            pointers.iter().map(|(_, name)| name::Presented(name).to_string()).collect::<Vec<_>>().join(" ")
        }
        Lookup::Any(_) => "any".to_owned(),
        Lookup::ApexSoa(soa) => format!("soa {}", show_soa(soa)),
        Lookup::NoData(soa, _) => format!("nodata {}", show_soa(soa)),
        Lookup::NxDomain(soa) => format!("nxdomain {}", show_soa(soa)),
        Lookup::Missing => "missing".to_owned(),
    }
}

const ANYONE: &str = "10.9.9.9";

#[test]
fn exact_label_end_wildcard_in_this_order() {
    let text = [
        record("exact-x.n.example", "A", "10.0.0.1"),
        record("*-x.n.example", "A", "10.0.0.2"),
        record("*-y-x.n.example", "A", "10.0.0.3"),
        record("*.n.example", "A", "10.0.0.4"),
    ];
    let (table, problems) = table_of(&text.concat(), &[]);
    assert!(problems.iter().next().is_none(), "{problems}");
    for (name, expected) in [
        ("exact-x.n.example", "Record [[10, 0, 0, 1]]"),
        ("EXACT-X.n.example", "Record [[10, 0, 0, 1]]"),
        ("ws-x.n.example", "LabelEnd [[10, 0, 0, 2]]"),
        ("-x.n.example", "LabelEnd [[10, 0, 0, 2]]"),
        ("ws-y-x.n.example", "LabelEnd [[10, 0, 0, 3]]"),
        ("other.n.example", "Wildcard [[10, 0, 0, 4]]"),
        ("a.ws-x.n.example", "Wildcard [[10, 0, 0, 4]]"),
        ("a.exact-x.n.example", "missing"), // the closest encloser is the exact name
        ("n.example", "missing"),
        ("example", "missing"),
        (".", "missing"),
        ("else.where", "missing"),
    ] {
        assert_eq!(ask(&table, name, Rtype::A, ANYONE), expected, "{name}");
    }
    assert_eq!(ask(&table, "exact-x.n.example", Rtype::AAAA, ANYONE), "nodata exact-x.n.example");
    assert_eq!(ask(&table, "exact-x.n.example", Rtype::SOA, ANYONE), "soa exact-x.n.example");
    assert_eq!(ask(&table, "other.n.example", Rtype::AAAA, ANYONE), "nodata n.example");
    assert_eq!(ask(&table, "other.n.example", Rtype::SOA, ANYONE), "nodata n.example");
    assert_eq!(ask(&table, "ws-x.n.example", Rtype::TXT, ANYONE), "nodata n.example");
    assert_eq!(ask(&table, "ws-x.n.example", Rtype::ANY, ANYONE), "any");
}

#[test]
fn zones_say_what_missing_names_mean() {
    let text = [record("a.b.z.example", "A", "10.0.0.1"), record("*.z.example", "A", "10.0.0.2")].concat();
    let (table, _) = table_of(&text, &[("z.example", Missing::NxDomain), ("f.z.example", Missing::Forward)]);
    for (name, qtype, expected) in [
        ("b.z.example", Rtype::A, "nodata z.example"), // an empty non-terminal stops the wildcard
        ("c.b.z.example", Rtype::A, "nxdomain z.example"),
        ("z.example", Rtype::A, "nodata z.example"),
        ("z.example", Rtype::SOA, "soa z.example"),
        ("a.b.z.example", Rtype::SOA, "nodata z.example"),
        ("any.z.example", Rtype::A, "Wildcard [[10, 0, 0, 2]]"),
        ("x.f.z.example", Rtype::A, "missing"),
        ("f.z.example", Rtype::SOA, "missing"),
    ] {
        assert_eq!(ask(&table, name, qtype, ANYONE), expected, "{name} {qtype}");
    }
}

#[test]
fn addresses_have_names() {
    let text = [
        record("a.example", "A", "10.1.0.5"),
        record("b.example", "A", "10.1.0.5"),
        record("*.c.example", "A", "10.1.0.5"),
        record("*.c.example", "AAAA", "fd00::1"),
    ];
    let (table, _) = table_of(&text.concat(), &[]);
    assert_eq!(ask(&table, "5.0.1.10.in-addr.arpa", Rtype::PTR, ANYONE), "a.example b.example");
    assert_eq!(ask(&table, "5.0.1.10.IN-ADDR.arpa", Rtype::A, ANYONE), "nodata 5.0.1.10.in-addr.arpa");
    assert_eq!(ask(&table, "5.0.1.10.in-addr.arpa", Rtype::SOA, ANYONE), "soa 5.0.1.10.in-addr.arpa");
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(ask(&table, v6, Rtype::PTR, ANYONE), "*.c.example");
    for name in ["6.0.1.10.in-addr.arpa", "05.0.1.10.in-addr.arpa", "0.1.10.in-addr.arpa", "1.5.0.1.10.in-addr.arpa"] {
        assert_eq!(ask(&table, name, Rtype::PTR, ANYONE), "missing", "{name}");
    }
}

#[test]
fn views_hide_what_is_not_meant_for_a_client() {
    let text = "
        [[record]]\nname = 'w.z.example'\ntype = 'A'\ndata = '10.1.0.5'\nclients = '10.1.0.0/16'
        [[record]]\nname = 'w.z.example'\ntype = 'A'\ndata = '10.2.0.5'\nclients = ['10.0.0.0/8']
        [[record]]\nname = 'x.w.z.example'\ntype = 'A'\ndata = '10.3.0.5'\nclients = '10.3.0.0/16'
        [[record]]\nname = '*.z.example'\ntype = 'A'\ndata = '10.9.0.5'";
    let (table, problems) = table_of(text, &[]);
    assert!(problems.iter().next().is_none(), "{problems}");
    assert_eq!(ask(&table, "w.z.example", Rtype::A, "10.1.1.1"), "Record [[10, 1, 0, 5]]");
    assert_eq!(ask(&table, "w.z.example", Rtype::A, "10.2.1.1"), "Record [[10, 2, 0, 5]]");
    assert_eq!(ask(&table, "w.z.example", Rtype::A, "192.168.0.1"), "Wildcard [[10, 9, 0, 5]]");
    assert_eq!(ask(&table, "x.w.z.example", Rtype::A, "192.168.0.1"), "Wildcard [[10, 9, 0, 5]]");
    assert_eq!(ask(&table, "x.w.z.example", Rtype::A, "10.1.0.1"), "missing");
    assert_eq!(ask(&table, "5.0.2.10.in-addr.arpa", Rtype::PTR, "192.168.0.1"), "missing");
    assert_eq!(ask(&table, "5.0.2.10.in-addr.arpa", Rtype::PTR, "10.2.0.1"), "w.z.example");
}

#[test]
fn conflicts_name_both_places() {
    let text = [
        record("a.example", "A", "10.0.0.1"),
        record("a.example", "A", "10.0.0.1"),
        record("A.example", "A", "10.0.0.2"),
        record("a.example", "CNAME", "b.example"),
    ];
    let (_, problems) = table_of(&text.concat(), &[]);
    let shown = problems.to_string();
    assert!(shown.contains("records.toml:9:1: error: A.example A has other data at records.toml:1:1"), "{shown}");
    assert!(shown.contains("records.toml:13:1: error: a.example has a CNAME and other records"), "{shown}");
    assert_eq!(problems.iter().count(), 2, "{shown}");
}
