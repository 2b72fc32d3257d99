#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| privatelink_dns::fuzz::run("rdata", bytes));
