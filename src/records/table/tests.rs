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
fn exact_partial_wildcard_wildcard_in_this_order() {
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
        ("ws-x.n.example", "PartialWildcard [[10, 0, 0, 2]]"),
        ("-x.n.example", "PartialWildcard [[10, 0, 0, 2]]"),
        ("ws-y-x.n.example", "PartialWildcard [[10, 0, 0, 3]]"),
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
fn of_partial_wildcards_the_longer_fixed_part_wins() {
    let text = [
        record("ci-anna-*.i.example", "A", "10.0.0.1"),
        record("ci-*.i.example", "A", "10.0.0.2"),
        record("*-8787.i.example", "A", "10.0.0.3"),
        record("*-long-ending.i.example", "A", "10.0.0.4"),
        record("*-same.i.example", "A", "10.0.0.5"),
        record("same-*.i.example", "A", "10.0.0.6"),
        record("*.i.example", "A", "10.0.0.7"),
        record("ci-anna-22.i.example", "A", "10.0.0.8"),
    ];
    let (table, problems) = table_of(&text.concat(), &[]);
    assert!(problems.iter().next().is_none(), "{problems}");
    for (name, expected) in [
        ("ci-anna-8704.i.example", "PartialWildcard [[10, 0, 0, 1]]"),
        ("CI-Anna-8787.i.example", "PartialWildcard [[10, 0, 0, 1]]"), // eight bytes are more than five
        ("ci-anna-.i.example", "PartialWildcard [[10, 0, 0, 1]]"),     // it begins so
        ("ci-bob-22.i.example", "PartialWildcard [[10, 0, 0, 2]]"),
        ("ci-8787.i.example", "PartialWildcard [[10, 0, 0, 3]]"), // five bytes are more than three
        ("ci-anna-long-ending.i.example", "PartialWildcard [[10, 0, 0, 4]]"),
        ("same-same.i.example", "PartialWildcard [[10, 0, 0, 5]]"), // as long: the ending
        ("same-x.i.example", "PartialWildcard [[10, 0, 0, 6]]"),
        ("ci.i.example", "Wildcard [[10, 0, 0, 7]]"),
        ("x.ci-anna-1.i.example", "Wildcard [[10, 0, 0, 7]]"), // the first label alone is looked at
        ("ci-anna-22.i.example", "Record [[10, 0, 0, 8]]"),
        ("ci-anna-*.i.example", "Record [[10, 0, 0, 1]]"),
    ] {
        assert_eq!(ask(&table, name, Rtype::A, ANYONE), expected, "{name}");
    }
    assert_eq!(ask(&table, "ci-anna-8704.i.example", Rtype::AAAA, ANYONE), "nodata i.example");
}

/// However many partial wildcards there are below a name, a lookup tries no more names than they have fixed parts of
/// different lengths.
#[test]
fn a_lookup_does_not_grow_with_the_number_of_partial_wildcards() {
    let text: String = (0..2000)
        .map(|number| record(&format!("ci-{number:04}-*.i.example"), "A", "10.0.0.1"))
        .chain((0..2000).map(|number| record(&format!("*-{number:04}.i.example"), "A", "10.0.0.2")))
        .collect();
    let (table, problems) = table_of(&text, &[]);
    assert!(problems.iter().next().is_none(), "{problems}");
    let name = Name::parse("i.example").unwrap();
    assert_eq!(table.find(name.as_wire()).unwrap().fixed_parts().count(), 2);
    assert_eq!(ask(&table, "ci-1234-80.i.example", Rtype::A, ANYONE), "PartialWildcard [[10, 0, 0, 1]]");
    assert_eq!(ask(&table, "a-1999.i.example", Rtype::A, ANYONE), "PartialWildcard [[10, 0, 0, 2]]");
    let elsewhere = Name::parse("example").unwrap();
    assert_eq!(table.find(elsewhere.as_wire()).unwrap().fixed_parts().count(), 0);
}

#[test]
fn a_wildcard_that_is_an_empty_non_terminal_is_a_source_of_synthesis() {
    let text = record("a.*.z.example", "A", "10.0.0.1");
    let (table, _) = table_of(&text, &[("z.example", Missing::NxDomain)]);
    assert_eq!(ask(&table, "x.z.example", Rtype::A, ANYONE), "nodata z.example");
    assert_eq!(ask(&table, "x.y.z.example", Rtype::A, ANYONE), "nodata z.example");
    assert_eq!(ask(&table, "a.*.z.example", Rtype::A, ANYONE), "Record [[10, 0, 0, 1]]");
    assert_eq!(ask(&table, "b.*.z.example", Rtype::A, ANYONE), "nxdomain z.example");
    let (table, _) = table_of(&text, &[("z.example", Missing::Forward)]);
    assert_eq!(ask(&table, "x.z.example", Rtype::A, ANYONE), "missing");
}

#[test]
fn a_wildcard_that_the_client_does_not_see_stands_for_nothing() {
    let text = "[[record]]\nname = 'a.*.z.example'\ntype = 'A'\ndata = '10.1.0.5'\nclients = '10.1.0.0/16'\n";
    let (table, _) = table_of(text, &[("z.example", Missing::NxDomain)]);
    assert_eq!(ask(&table, "x.z.example", Rtype::A, "10.1.0.1"), "nodata z.example");
    assert_eq!(ask(&table, "x.z.example", Rtype::A, "10.2.0.1"), "nxdomain z.example");
}

#[test]
fn every_type_of_an_alias_is_the_alias() {
    let text = [record("c.example", "CNAME", "t.example."), record("*.w.example", "CNAME", "t.example.")].concat();
    let (table, _) = table_of(&text, &[]);
    let target = format!("{:?}", [Name::parse("t.example").unwrap().as_wire()]);
    assert_eq!(ask(&table, "c.example", Rtype::ANY, ANYONE), format!("Record {target}"));
    assert_eq!(ask(&table, "x.w.example", Rtype::ANY, ANYONE), format!("Wildcard {target}"));
    assert_eq!(ask(&table, "c.example", Rtype::A, ANYONE), "alias");
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
    assert_eq!(ask(&table, v6, Rtype::PTR, ANYONE), "missing", "a wildcard is no name of a host");
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
    assert!(shown.contains("records.toml:10:8: error: A.example A has other data at records.toml:2:8"), "{shown}");
    assert!(shown.contains("records.toml:14:8: error: a.example has a CNAME and other records"), "{shown}");
    assert_eq!(problems.iter().count(), 2, "{shown}");
}

/// Records of a name in one file each.
fn problems_of_files(texts: [&str; 2]) -> String {
    let mut problems = Problems::default();
    let sources: Vec<_> =
        texts.iter().enumerate().map(|(number, text)| SourceText::new(format!("{number}.toml"), *text)).collect();
    let mut packs = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        packs.append(&mut read_records(source, number as u32, &mut problems));
    }
    compile(&packs, &[], TableSettings { ttl: 10 }, sources, &mut problems);
    problems.to_string()
}

#[test]
fn data_of_two_files_under_one_wildcard_is_not_to_be_put_together() {
    let (first, second) = (record("*.r.example", "A", "10.1.0.7"), record("*.r.example", "A", "10.2.0.7"));
    let shown = problems_of_files([&first, &second]);
    assert!(shown.contains("1.toml:2:8: error: *.r.example A has other data at 0.toml:2:8"), "{shown}");
    assert!(shown.contains("leave it out of both files") && !shown.contains("put all data into one"), "{shown}");
    let shown = problems_of_files([&[first, second].concat(), ""]);
    assert!(shown.contains("put all data into one [[record]]"), "{shown}");
}

#[test]
fn a_conflict_is_marked_at_the_name_however_it_is_written() {
    let first = record("a.example", "A", "10.0.0.1");
    for (second, expected) in [
        ("[[record]]\ntype = 'A'\nname = 'a.example' # x\ndata = '10.0.0.2'\n", "1.toml:3:8: error"),
        ("\n[[record]]\n\"name\" = \"\"\"a.example\"\"\"\ntype = 'A'\ndata = '10.0.0.2'\n", "1.toml:3:10: error"),
        ("record = [{ name = 'a.example', type = 'A', data = '10.0.0.2' }]", "1.toml:1:11: error"),
    ] {
        let shown = problems_of_files([&first, second]);
        assert!(shown.contains(expected) && shown.contains("other data at 0.toml:2:8"), "{shown}");
    }
}

#[test]
fn a_name_may_have_very_many_sets_of_records() {
    let typed = |number: u16, data: u8| record("a.example", &format!("TYPE{number}"), &format!("\\# 1 {data:02x}"));
    let many: String = (1000..4000).map(|number| typed(number, 1)).collect();
    let (table, problems) = table_of(&many, &[]);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(ask(&table, "a.example", Rtype(2345), ANYONE), "Record [[1]]");
    let more = [typed(3999, 1), typed(1000, 1), typed(1001, 2), record("a.example", "CNAME", "b.example.")];
    let (_, problems) = table_of(&[many, more.concat()].concat(), &[]);
    let shown: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(shown.len(), 2, "{problems}");
    assert_eq!(shown[0], "a.example TYPE1001 has other data at records.toml:6:8");
    assert!(shown[1].starts_with("a.example has a CNAME and other records: TYPE"), "{}", shown[1]);
    let alias = [record("a.example", "CNAME", "b.example."), typed(1000, 1)].concat();
    assert_eq!(table_of(&alias, &[]).1.len(), 1);
}

#[test]
fn as_many_views_as_numbers_and_no_more() {
    let viewed = |number: u32| {
        let prefix = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        format!("[[record]]\nname = \"a.example\"\ntype = \"A\"\ndata = \"10.0.0.1\"\nclients = \"{prefix}\"\n")
    };
    let most: String = (0..u32::from(u16::MAX)).map(viewed).collect();
    let (table, problems) = table_of(&most, &[]);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(table.views().len(), usize::from(u16::MAX));
    assert_eq!(ask(&table, "a.example", Rtype::A, "10.0.4.7"), "Record [[10, 0, 0, 1]]");
    let typed = viewed(7).replace("\"A\"", "\"TXT\"");
    let (_, problems) = table_of(&[most, typed, viewed(u32::from(u16::MAX))].concat(), &[]);
    let shown: Vec<_> = problems.iter().map(|problem| &*problem.message).collect();
    assert_eq!(
        shown,
        ["a.example has more than 65535 sets of records", "there are more than 65,535 different `clients`"]
    );
}

#[test]
fn as_many_zones_as_numbers() {
    let zones: Vec<String> = (0..=crate::records::ZONES_MAX).map(|number| format!("z{number}.example")).collect();
    let zones: Vec<_> = zones.iter().map(|zone| (&**zone, Missing::NxDomain)).collect();
    let (table, problems) = table_of(&record("a.z7.example", "A", "10.0.0.1"), &zones);
    assert!(problems.is_empty(), "{problems}");
    for zone in ["z0.example", "z65534.example"] {
        assert_eq!(ask(&table, &format!("x.{zone}"), Rtype::A, ANYONE), format!("nxdomain {zone}"));
    }
}
