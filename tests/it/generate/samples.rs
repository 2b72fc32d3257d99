//! Real answers of Azure: exactly the names that can be read off them, and their privatelink names.

use super::{Records, Run, lines, set};

fn run(file: &str, options: &[&str]) -> Run {
    let path = format!("tests/it/generate/samples/{file}");
    Run::new(&[&[path.as_str()], options].concat(), b"")
}

/// Sample, expected public (or listed) records, expected privatelink names behind them.
const SAMPLES: &[(&str, &[&str], &[&str])] = &[
    (
        "endpoint-storage-blob-2025.json",
        &["asoteststoriphqpp.blob.core.windows.net 10.0.0.4"],
        &["asoteststoriphqpp.privatelink.blob.core.windows.net 10.0.0.4"],
    ),
    (
        "interface-storage-blob-2025.json",
        &["asoteststoriphqpp.blob.core.windows.net 10.0.0.4"],
        &["asoteststoriphqpp.privatelink.blob.core.windows.net 10.0.0.4"],
    ),
    ("zone-group-storage-blob-2025.json", &[], &["asoteststoriphqpp.privatelink.blob.core.windows.net 10.0.0.4"]),
    (
        "endpoint-static-addresses.json",
        &["ipconfig000002.blob.core.windows.net 10.0.0.4"],
        &["ipconfig000002.privatelink.blob.core.windows.net 10.0.0.4"],
    ),
    (
        "endpoint-registry.json",
        &["clitest000005.azurecr.io 192.168.2.5", "clitest000005.eastus2euap.data.azurecr.io 192.168.2.4"],
        &[
            "clitest000005.privatelink.azurecr.io 192.168.2.5",
            "clitest000005.eastus2euap.data.privatelink.azurecr.io 192.168.2.4",
        ],
    ),
    (
        "interface-registry.json",
        &["clitest000005.azurecr.io 192.168.2.5", "clitest000005.eastus2euap.data.azurecr.io 192.168.2.4"],
        &[
            "clitest000005.privatelink.azurecr.io 192.168.2.5",
            "clitest000005.eastus2euap.data.privatelink.azurecr.io 192.168.2.4",
        ],
    ),
    (
        "record-sets-registry.json",
        &[],
        &[
            "clitest000005.privatelink.azurecr.io 192.168.2.5",
            "clitest000005.eastus2euap.data.privatelink.azurecr.io 192.168.2.4",
        ],
    ),
    (
        "endpoint-key-vault-2020.json",
        &["cli-test-kv-pec-000002.vaultcore.azure.net 10.0.0.4", "cli-test-kv-pec-000002.vault.azure.net 10.0.0.4"],
        &["cli-test-kv-pec-000002.privatelink.vaultcore.azure.net 10.0.0.4"],
    ),
    (
        "endpoint-cosmos-regional.json",
        &[
            "cli-test-cosmosdb-pe-000002-westus.documents.azure.com 10.0.0.5",
            "cli-test-cosmosdb-pe-000002.documents.azure.com 10.0.0.4",
        ],
        &[
            "cli-test-cosmosdb-pe-000002-westus.privatelink.documents.azure.com 10.0.0.5",
            "cli-test-cosmosdb-pe-000002.privatelink.documents.azure.com 10.0.0.4",
        ],
    ),
    (
        "endpoint-cognitive-services.json",
        &["csclitest000003.cognitiveservices.azure.com 10.0.0.4"],
        &["csclitest000003.privatelink.cognitiveservices.azure.com 10.0.0.4"],
    ),
    (
        "endpoint-synapse.json",
        &["cli-test-resource-000007.sql.azuresynapse.net 10.0.0.4"],
        &["cli-test-resource-000007.privatelink.sql.azuresynapse.net 10.0.0.4"],
    ),
    (
        "endpoint-sql-server.json",
        &["cli-test-resource-000006.database.windows.net 10.0.0.4"],
        &["cli-test-resource-000006.privatelink.database.windows.net 10.0.0.4"],
    ),
    (
        "endpoint-monitor-scope.json",
        &[
            "9b2c9d4b-657f-4c25-9580-e9d09a025c6b.agentsvc.azure-automation.net 10.0.0.6",
            "9b2c9d4b-657f-4c25-9580-e9d09a025c6b.ods.opinsights.azure.com 10.0.0.5",
            "9b2c9d4b-657f-4c25-9580-e9d09a025c6b.oms.opinsights.azure.com 10.0.0.4",
            "api.monitor.azure.com 10.0.0.8",
            "applicationinsights_ingestion.monitor.azure.com 10.0.0.7",
            "live.monitor.azure.com 10.0.0.9",
            "profiler.monitor.azure.com 10.0.0.10",
            "snapshot.monitor.azure.com 10.0.0.11",
        ],
        &[
            "9b2c9d4b-657f-4c25-9580-e9d09a025c6b.privatelink.agentsvc.azure-automation.net 10.0.0.6",
            "9b2c9d4b-657f-4c25-9580-e9d09a025c6b.privatelink.ods.opinsights.azure.com 10.0.0.5",
            "9b2c9d4b-657f-4c25-9580-e9d09a025c6b.privatelink.oms.opinsights.azure.com 10.0.0.4",
            "api.privatelink.monitor.azure.com 10.0.0.8",
            "applicationinsights_ingestion.privatelink.monitor.azure.com 10.0.0.7",
            "live.privatelink.monitor.azure.com 10.0.0.9",
            "profiler.privatelink.monitor.azure.com 10.0.0.10",
            "snapshot.privatelink.monitor.azure.com 10.0.0.11",
        ],
    ),
    (
        "endpoint-arc.json",
        &[
            "agentserviceapi.guestconfiguration.azure.com 10.0.0.7",
            "canary-ats.his.arc.azure.com 10.0.0.6",
            "cbn.his.arc.azure.com 10.0.0.5",
            "eapeus2-gas.guestconfiguration.azure.com 10.0.0.8",
            "eastus2euap-gas.guestconfiguration.azure.com 10.0.0.9",
            "eastus2euap.dp.kubernetesconfiguration.azure.com 10.0.0.10",
            "gbl.his.arc.azure.com 10.0.0.4",
        ],
        &[
            "agentserviceapi.privatelink.guestconfiguration.azure.com 10.0.0.7",
            "canary-ats.privatelink.his.arc.azure.com 10.0.0.6",
            "cbn.privatelink.his.arc.azure.com 10.0.0.5",
            "eapeus2-gas.privatelink.guestconfiguration.azure.com 10.0.0.8",
            "eastus2euap-gas.privatelink.guestconfiguration.azure.com 10.0.0.9",
            "eastus2euap.privatelink.dp.kubernetesconfiguration.azure.com 10.0.0.10",
            "gbl.privatelink.his.arc.azure.com 10.0.0.4",
        ],
    ),
    (
        "interface-web-site.json",
        &[
            "webapp-privatelink-webappds3wu3k7igitdfa.azurewebsites.net 10.0.0.4",
            "webapp-privatelink-webappds3wu3k7igitdfa.scm.azurewebsites.net 10.0.0.4",
        ],
        &[
            "webapp-privatelink-webappds3wu3k7igitdfa.privatelink.azurewebsites.net 10.0.0.4",
            "webapp-privatelink-webappds3wu3k7igitdfa.scm.privatelink.azurewebsites.net 10.0.0.4",
        ],
    ),
    (
        "powershell-export-redis.json",
        &["redis-001.redis.cache.windows.net 10.0.0.4"],
        &["redis-001.privatelink.redis.cache.windows.net 10.0.0.4"],
    ),
];

#[test]
fn every_sample_gives_exactly_its_records() {
    for (file, public, private) in SAMPLES {
        let run = run(file, &[]);
        assert_eq!(lines(&run.records()), set(&[*public, *private].concat()), "{file}");
        assert_eq!(run.err, "", "{file}");
    }
}

#[test]
fn samples_without_addresses_give_a_message_and_no_records() {
    for (file, parts) in [
        ("accounts-ai-services.json", &["AI services account cctestaifoundry758265970007", "az network nic show"][..]),
        ("aks-private-cluster.json", &["microsoft.containerservice/managedclusters", "az network nic show"]),
        (
            "endpoint-pending-ml-registry.json",
            &["private endpoint pe-000005", "Pending", "az network private-endpoint-connection approve"],
        ),
        ("workspaces.json", &["no address of workspace cctestml438669734316", "az network nic show"]),
        ("online-endpoints.json", &["cctest-online-endpoint.eastus.inference.ml.azure.com", "workspace cctest-mlws"]),
        ("resource-graph-table.json", &["microsoft.storage/storageaccounts", "az network nic show"]),
    ] {
        let run = run(file, &[]);
        run.fails_with(parts);
        assert!(!run.err.contains("example.com") && !run.err.contains("ssh-rsa"), "{file}");
    }
}

#[test]
fn a_private_zone_of_ones_own_comes_out_when_it_is_let_in() {
    run("record-sets-all-types.json", &[]).fails_with(&["--allow 'clitest.privatedns.com000002'"]);
    let records = run("record-sets-all-types.json", &["--allow", "clitest.privatedns.com000002"]).records();
    let of = |number: u32, record_type: &str| {
        (format!("clitestprivatednsrecordset{number:06}.clitest.privatedns.com000002"), record_type.to_owned())
    };
    let expected: Records = [
        (of(3, "A"), "10.0.0.1"),
        (of(4, "AAAA"), "::1"),
        (of(5, "TXT"), "\"txt record\""),
        (of(6, "CNAME"), "clitestcname."),
        (of(7, "SRV"), "1 5 120 targ.et."),
        (of(8, "MX"), "1 ex.chan.ge."),
        (of(9, "PTR"), "ptrd.name."),
    ]
    .into_iter()
    .map(|(owner, data)| (owner, vec![data.to_owned()]))
    .collect();
    assert_eq!(records, expected);
}

#[test]
fn a_zone_file_gives_its_records() {
    run("zone-file.txt", &[]).fails_with(&["zone1.local is not a private DNS zone", "--allow 'zone1.local'"]);
    let run = run("zone-file.txt", &["--allow", "zone1.local"]);
    let expected: Records = [
        ("mymx", "MX", &["1 mail.contoso.com."][..]),
        ("manuala", "A", &["10.0.0.10"]),
        ("mya", "A", &["10.0.1.0", "10.0.1.1"]),
        ("myaaaa", "AAAA", &["2001:4898:e0:99:6dc4:6329:1c99:4e69"]),
        ("mycname", "CNAME", &["contoso.com."]),
        ("myname", "PTR", &["myptrdname.zone1.local."]),
        ("myptr", "PTR", &["contoso.com.zone1.local."]),
        ("myname2", "TXT", &["\"manualtxt\""]),
        ("mytxt2", "TXT", &["\"abc def\"", "\"foo bar\""]),
        ("mytxtrs", "TXT", &["\"hi\""]),
        ("mysrv", "SRV", &["1 2 1234 target.contoso.com."]),
        ("_sip._tls", "SRV", &["100 1 443 target.contoso.com."]),
    ]
    .into_iter()
    .map(|(name, kind, data)| {
        ((format!("{name}.zone1.local"), kind.to_owned()), data.iter().map(ToString::to_string).collect())
    })
    .collect();
    assert_eq!(run.records(), expected);
    assert!(run.out.contains("ttl  = \"0s\"") && run.out.contains("ttl  = \"7200s\""), "{}", run.out);
}

#[test]
fn a_stated_time_to_live_is_kept() {
    let run = run("record-sets-registry.json", &[]);
    assert_eq!(run.out.matches("ttl  = \"3600s\"").count(), 2, "{}", run.out);
    let zone_group = self::run("zone-group-storage-blob-2025.json", &[]);
    assert!(!zone_group.out.contains("ttl"), "10 s is what records have that state none");
}

#[test]
fn sources_of_one_endpoint_agree_and_add_up() {
    let all =
        ["endpoint-storage-blob-2025.json", "interface-storage-blob-2025.json", "zone-group-storage-blob-2025.json"];
    let paths: Vec<String> = all.iter().map(|file| format!("tests/it/generate/samples/{file}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let run = Run::new(&paths, b"");
    let expected = set(&[
        "asoteststoriphqpp.blob.core.windows.net 10.0.0.4",
        "asoteststoriphqpp.privatelink.blob.core.windows.net 10.0.0.4",
    ]);
    assert_eq!(lines(&run.records()), expected);
    let reversed: Vec<&str> = paths.iter().rev().copied().collect();
    assert_eq!(Run::new(&reversed, b"").out, run.out, "the order of inputs does not matter");
}

#[test]
fn an_account_of_three_names_joins_its_endpoint() {
    let mut endpoint: serde_json::Value =
        serde_json::from_str(include_str!("samples/endpoint-cognitive-services.json")).unwrap();
    let account: serde_json::Value = serde_json::from_str(include_str!("samples/accounts-ai-services.json")).unwrap();
    let properties = &mut endpoint["properties"];
    properties["privateLinkServiceConnections"][0]["properties"]["privateLinkServiceId"] =
        account["value"][0]["id"].clone();
    properties["customDnsConfigs"][0]["fqdn"] = "cctestaifoundry758265970007.cognitiveservices.azure.com".into();
    let run = Run::on_all(&[], &[endpoint.clone(), account.clone()]);
    let expected = ["cognitiveservices.azure.com", "openai.azure.com", "services.ai.azure.com"]
        .map(|suffix| format!("cctestaifoundry758265970007.{suffix} 10.0.0.4"));
    assert_eq!(run.public(), expected.into_iter().collect());
    assert_eq!(run.records().len(), 6);

    // Of other kinds they have the listed one.
    let mut account = account;
    account["value"][0]["kind"] = "OpenAI".into();
    assert_eq!(Run::on_all(&[], &[endpoint, account]).records().len(), 2);
}
