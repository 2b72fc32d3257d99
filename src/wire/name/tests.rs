//! Names as text and as wire form.

use super::*;

#[test]
fn text_and_wire_agree() {
    for (text, wire) in [
        (".", &b"\0"[..]),
        ("a", b"\x01a\0"),
        ("a.", b"\x01a\0"),
        ("Ws.Eastus", b"\x02Ws\x06Eastus\0"),
        (r"a\.b.c", b"\x03a.b\x01c\0"),
        (r"\000\255", b"\x02\x00\xff\0"),
        ("*-eastus.x", b"\x08*-eastus\x01x\0"),
    ] {
        let name = Name::parse(text).unwrap();
        assert_eq!(name.as_wire(), wire, "{text}");
        assert_eq!(Name::parse(&name.to_string()).unwrap().as_wire(), wire, "{text} printed and read again");
    }
}

#[test]
fn what_is_no_name_is_said() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
    for (text, error) in [
        ("", NameError::Empty),
        (".a", NameError::EmptyLabel),
        ("a..b", NameError::EmptyLabel),
        (&long_label, NameError::LabelTooLong(long_label.clone())),
        (&long_name, NameError::TooLong),
        (r"a\", NameError::BadEscape),
        (r"a\25", NameError::BadEscape),
        (r"a\256", NameError::BadEscape),
        ("a b", NameError::BadCharacter(' ')),
        ("a。b", NameError::BadCharacter('。')),
        ("ex\u{430}mple.com", NameError::BadCharacter('\u{430}')),
    ] {
        assert_eq!(Name::parse(text), Err(error), "{text}");
    }
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(Name::parse(&longest).unwrap().as_wire().len(), NAME_MAX);
}

#[test]
fn a_dot_inside_a_label_does_not_end_it() {
    assert_ne!(Name::parse(r"a\.b.com"), Name::parse("a.b.com"));
    assert!(!Name::parse(r"x\.b.com").unwrap().is_within(&Name::parse("b.com").unwrap()));
}

#[test]
fn within_compares_whole_labels() {
    let zone = Name::parse("ms").unwrap();
    assert!(Name::parse("api.azureml.MS").unwrap().is_within(&zone));
    assert!(zone.is_within(&zone) && zone.is_within(&Name::root()));
    assert!(!Name::parse("forms").unwrap().is_within(&zone));
    assert!(!Name::root().is_within(&zone));
}

#[test]
fn wildcards_and_partial_wildcards_differ() {
    let wildcard = Name::parse("*.a").unwrap();
    assert!(wildcard.is_wildcard() && wildcard.partial_wildcard().is_none());
    for (text, expected) in [
        ("*-x.a", Some(PartialWildcard::Ending(b"-x"))),
        ("x-*.a", Some(PartialWildcard::Beginning(b"x-"))),
        ("x*y.a", None),
        ("*x*.a", None),
        ("**.a", None),
        ("x.*-y.a", None),
    ] {
        let name = Name::parse(text).unwrap();
        assert!(!name.is_wildcard(), "{text}");
        assert_eq!(name.partial_wildcard(), expected, "{text}");
    }
}

#[test]
fn a_star_has_its_place() {
    use MisplacedStar::{BelowPattern, InLabel, Plain};
    for (text, expected) in [
        ("a.b", None),
        ("*.a", None),
        ("*-x.a", None),
        ("x-*.a", None),
        ("sub.*.a", Some(Plain)),
        ("*.b2.*.b1", Some(Plain)),
        ("*.*.a", Some(BelowPattern)),
        ("x-*.*.a", Some(BelowPattern)),
        ("x*y.a", Some(InLabel)),
        ("**.a", Some(InLabel)),
        ("a.x-*.b", Some(InLabel)),
        ("*.*.x*y", Some(InLabel)),
    ] {
        assert_eq!(misplaced_star(Name::parse(text).unwrap().as_wire()), expected, "{text}");
    }
}

#[test]
fn both_privatelink_labels_are_known() {
    for (text, expected) in [
        ("a.privatelink.blob.core.windows.net", true),
        ("a.PrivateLink-Global.wvd.microsoft.com", true),
        ("privatelink", true),
        ("a.myprivatelink.example", false),
        ("a.privatelink-x.example", false),
    ] {
        assert_eq!(Name::parse(text).unwrap().is_privatelink(), expected, "{text}");
    }
}

#[test]
fn names_of_other_scripts_have_a_labels() {
    for (text, expected) in [
        ("caf\u{e9}.corp.example", Some("xn--caf-dma.corp.example")),
        ("*.M\u{fc}ller.example", Some("*.xn--mller-kva.example")),
        ("plain.example", None),
        ("\u{fffd}.example", None),
    ] {
        assert_eq!(a_label_form(text).as_deref(), expected, "{text}");
    }
}
