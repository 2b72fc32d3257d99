use crate::common::cast::{API, RECORDS};
use crate::common::{Answer, FakeAzureDns, Play, Pldns, Script};

/// An upstream's answer whose CNAME data is `target`, then the right answer on both transports: the wait goes on.
#[track_caller]
fn survives(target: &str) {
    let fake = FakeAzureDns::start();
    let right = Answer::of(&["a.example 60 IN A 192.0.2.1"]);
    let bad = Answer::of(&[&format!("a.example 60 IN CNAME {target}")]);
    fake.on("a.example A", Script::udp([Play::of(bad).then(10, right.clone())]).tcp([Play::of(right)]));
    let server = Pldns::start(&fake.rule("."), RECORDS);
    server.ask("a.example A").answers(&["a.example 60 IN A 192.0.2.1"]).before_deadline();
    server.ask(&format!("{API} A")).rcode("NOERROR");
}

// The answer's owner is a pointer (2 bytes) at 27 + 12; its data begins at 12 + 15 + 12 = 39 = 0x27.

#[test]
fn s_2_compression_pointers_do_not_loop() {
    survives(r"\# 2 c027");
    survives(r"\# 4 0161c027");
}

#[test]
fn s_2_compression_pointers_go_back_and_stay_inside() {
    survives(r"\# 2 c0ff");
    survives(r"\# 2 ffff");
    survives(r"\# 2 c029");
}

#[test]
fn s_3_labels_and_names_have_their_limits() {
    survives(r"\# 3 3f6100");
    survives(r"\# 2 4161");
    survives(&format!(r"\# 513 {}00", "0161".repeat(256)));
}

#[test]
fn s_4_names_end_with_the_root() {
    survives(r"\# 2 0161");
    survives(r"\# 1 c0");
}

#[test]
fn s_5_record_lengths_agree_with_what_is_in_them() {
    survives(r"\# 4 01610000");
    survives(r"\# 0");
}
