//! Everything under "answers from the table" once more, asked by hickory's own client over UDP and TCP: what it
//! accepted is compared with what the tests' own client got.

use crate::common::cast::{API, GUID, NOTEBOOK, RECORDS, record, zone};
use crate::common::dns::{self, Message, Record};
use crate::common::{Answer, FakeAzureDns, Pldns, hickory};
use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// What must be equal whoever asks; rotation, TTLs of cached records and the OPT are left out.
fn essence(message: &Message) -> (u16, u16, [Vec<Record>; 2]) {
    let flags = message.flags & (dns::QR | dns::AA | dns::TC | dns::RA | dns::AD);
    let sorted = |records: &[Record]| {
        let mut records: Vec<Record> = records.to_vec();
        for record in &mut records {
            record.ttl = 0;
            record.name.make_ascii_lowercase();
        }
        records.sort();
        records
    };
    (message.rcode(), flags, [sorted(&message.answers), sorted(&message.authorities)])
}

#[test]
fn hickorys_client_gets_the_same_answers() {
    let fake = FakeAzureDns::start();
    fake.answer("www.elsewhere.test A", &["www.elsewhere.test 60 IN A 192.0.2.1"]);
    fake.gives("gone.elsewhere.test A", Answer::negative("NXDOMAIN", "elsewhere.test"));
    fake.gives("bare.elsewhere.test A", Answer::negative("NOERROR", "elsewhere.test"));
    fake.answer(
        "acct.blob.core.windows.net A",
        &[
            "acct.blob.core.windows.net 60 IN CNAME acct.privatelink.blob.core.windows.net",
            "acct.privatelink.blob.core.windows.net 60 IN A 20.60.1.1",
        ],
    );
    let settings = zone("corp.example", "nxdomain") + &fake.rule(".");
    let records = RECORDS.to_owned()
        + &record("many.example", "A", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        + &record("mail.corp.example", "MX", &["10 a.corp.example."])
        + &record("a.b.corp.example", "TXT", &[r#""text""#])
        + &record("*.wild.corp.example", "A", &["10.0.0.4"])
        + &record("alias.example", "CNAME", &["many.example."])
        + &record("out.example", "CNAME", &["www.elsewhere.test."])
        + &record("odd.example", "TYPE65280", &[r"\# 3 abcdef"])
        + &record("acct.privatelink.blob.core.windows.net", "A", &["10.1.0.9"]);
    let server = Pldns::start(&settings, &records);
    let questions = [
        // Exact names, any case, NODATA of other types, several addresses.
        format!("{API} A"),
        format!("{} A", API.to_ascii_uppercase()),
        format!("{API} AAAA"),
        format!("{API} HTTPS"),
        format!("{API} TXT"),
        "many.example A".to_owned(),
        // Wildcards, partial wildcards, empty non-terminals, missing names.
        "ep.eastus.inference.ml.azure.com A".to_owned(),
        "ep.eastus.inference.ml.azure.com AAAA".to_owned(),
        format!("{NOTEBOOK} A"),
        format!("ml-x-eastus-{GUID}.eastus.notebooks.azure.net AAAA"),
        "x.wild.corp.example A".to_owned(),
        "b.corp.example A".to_owned(),
        "none.corp.example A".to_owned(),
        "corp.example SOA".to_owned(),
        "mail.corp.example MX".to_owned(),
        "a.b.corp.example TXT".to_owned(),
        "odd.example TYPE65280".to_owned(),
        // Chains within, out of and into the table.
        "alias.example A".to_owned(),
        "alias.example CNAME".to_owned(),
        "out.example A".to_owned(),
        "acct.blob.core.windows.net A".to_owned(),
        // Reverse names, ANY.
        "5.0.1.10.in-addr.arpa PTR".to_owned(),
        format!("{API} ANY"),
        // Forwarded.
        "www.elsewhere.test A".to_owned(),
        "gone.elsewhere.test A".to_owned(),
        "bare.elsewhere.test A".to_owned(),
    ];
    for question in &questions {
        let ours = server.ask(question).message;
        for theirs in hickory::ask(server.address(), question) {
            assert_eq!(essence(&theirs), essence(&ours), "{question}: hickory got\n{theirs}we got\n{ours}");
        }
    }
}

#[test]
fn hickorys_resolver_finds_the_private_addresses() {
    let fake = FakeAzureDns::start();
    let server = Pldns::start(
        &fake.rule("."),
        &(RECORDS.to_owned()
            + &record("alias.example", "CNAME", &["many.example."])
            + &record("many.example", "A", &["10.0.0.1", "10.0.0.2"])),
    );
    let port = server.address().port();
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let upstream = NameServerConfig::new(server.address().ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, vec![], vec![upstream]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        for (name, expected) in [
            (API, vec!["10.1.0.5"]),
            (NOTEBOOK, vec!["10.1.0.6"]),
            ("ep.eastus.inference.ml.azure.com", vec!["10.1.0.7"]),
            ("alias.example", vec!["10.0.0.1", "10.0.0.2"]),
        ] {
            // Addresses of both families are looked for: the AAAA half must be a clean NODATA.
            let found = resolver.lookup_ip(format!("{name}.")).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut addresses: Vec<String> = found.iter().map(|ip| ip.to_string()).collect();
            addresses.sort();
            assert_eq!(addresses, expected, "{name}");
        }
    });
}
