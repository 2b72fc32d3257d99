//! What people really give the command, in `field/` (invented names): each with the right answer.

use serde_json::json;

use super::{Run, lines, set};
use crate::common::Scratch;

fn run(file: &str, options: &[&str]) -> Run {
    let path = format!("tests/it/generate/field/{file}");
    Run::new(&[&[path.as_str()], options].concat(), b"")
}

/// The public names that must come out, of inputs that need no option and give no message.
const QUIET: &[(&str, &[&str])] = &[
    (
        "acr-geo.json",
        &[
            "orchidacr.azurecr.io 10.41.8.4",
            "orchidacr.westeurope.data.azurecr.io 10.41.8.5",
            "orchidacr.westeurope.geo.azurecr.io 10.41.8.6",
        ],
    ),
    ("adf.json", &["orchid-adf.westeurope.datafactory.azure.net 10.41.1.4", "adf.azure.com 10.41.1.5"]),
    ("arm-template.json", &["orchidstore.blob.core.windows.net 10.40.2.9"]),
    (
        "bicep-outputs.json",
        &["orchidstore.blob.core.windows.net 10.40.2.9", "orchidstore.dfs.core.windows.net 10.40.2.10"],
    ),
    ("graph-project.json", &["orchidstore.blob.core.windows.net 10.40.2.9"]),
    ("portal.csv", &["orchidstore.blob.core.windows.net 10.40.2.9"]),
    ("ps-depth2.json", &["orchidstore.blob.core.windows.net 10.40.2.9"]),
    ("query-custom.json", &["orchidstore.blob.core.windows.net 10.40.2.9"]),
    ("query-nested.json", &["orchidstore.blob.core.windows.net 10.40.2.9"]),
    (
        "tf-output.json",
        &[
            "cosmo-orchid.documents.azure.com 10.40.2.4",
            "cosmo-orchid-westeurope.documents.azure.com 10.40.2.5",
            "cosmo-orchid-northeurope.documents.azure.com 10.40.2.6",
        ],
    ),
    (
        "tf-state.json",
        &["cosmo-orchid.documents.azure.com 10.40.2.4", "cosmo-orchid-westeurope.documents.azure.com 10.40.2.5"],
    ),
    ("v6-nic.json", &["orchidsix.blob.core.windows.net 10.41.4.4", "orchidsix.blob.core.windows.net fd00:41::4"]),
    ("aks-zone.json", &["orchid2.private.westeurope.azmk8s.io 10.61.0.6"]),
    ("pgflex.json", &["a1b2c3d4.orchid.private.postgres.database.azure.com 10.62.0.4"]),
];

#[test]
fn inputs_of_every_tool_give_exactly_their_names() {
    for (file, public) in QUIET {
        let run = run(file, &[]);
        assert_eq!(run.public(), set(public), "{file}");
        assert_eq!(run.err, "", "{file}");
    }
}

#[test]
fn privatelink_names_come_with_them() {
    for (file, line) in [
        ("adf.json", "portal.privatelink.adf.azure.com 10.41.1.5"),
        ("zonegroup-adf.json", "portal.privatelink.adf.azure.com 10.41.1.5"),
        ("arm-template.json", "orchidstore.privatelink.blob.core.windows.net 10.40.2.9"),
        ("services.json", "orchidpart.z20.privatelink.blob.storage.azure.net 10.40.3.5"),
        ("services.json", "orchid-web-a1b2c3d4e5f6a7b8.scm.privatelink.westeurope-01.azurewebsites.net 10.40.3.4"),
        ("services.json", "happy-pebble-0a1b2c3d4.privatelink.5.azurestaticapps.net 10.40.3.6"),
        ("tf-state.json", "cosmo-orchid.privatelink.documents.azure.com 10.40.2.4"),
        ("aks-zone.json", "sub.privatelink.westeurope.azmk8s.io 10.61.0.5"),
        ("zonegroup-web.json", "orchid-web.scm.privatelink.azurewebsites.net 10.41.2.4"),
    ] {
        let lines = lines(&run(file, &[]).records());
        // Web apps with unique host names keep their order of labels behind the zone.
        let alternative =
            line.replace("scm.privatelink.westeurope-01.azurewebsites", "scm.westeurope-01.privatelink.azurewebsites");
        assert!(lines.contains(line) || lines.contains(&alternative), "{file}: {line} is not in {lines:#?}");
    }
}

#[test]
fn rows_of_several_workspaces_keep_their_own_addresses() {
    let lines = lines(&run("rows-two-workspaces.json", &[]).records());
    let (orchid, lotus) = ("3f0c2a51-6a1e-4c0f-9b52-0d7a5e1b7c11", "90ab4d7e-0c55-4c1d-8f0e-6b1f2d3a4e55");
    for (id, network) in [(orchid, "10.41.2"), (lotus, "10.41.3")] {
        let of_workspace: Vec<_> = lines.iter().filter(|line| line.contains(id)).collect();
        assert_eq!(of_workspace.len(), 9, "{of_workspace:#?}");
        assert!(of_workspace.iter().all(|line| line.contains(network)), "{of_workspace:#?}");
        let inference = format!("*.{id}.inference.westeurope.privatelink.api.azureml.ms {network}.6");
        assert!(lines.contains(&inference), "{lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("*.westeurope.inference")));
}

#[test]
fn rows_that_position_cannot_tell_apart_are_an_error() {
    let api = |id: &str, address: &str| json!({"FQDNs": [format!("{id}.workspace.westeurope.api.azureml.ms")], "IPAddress": address});
    let wildcard = |address: &str| json!({"FQDNs": ["*.westeurope.inference.ml.azure.com"], "IPAddress": address});
    let (one, two) = ("3f0c2a51-6a1e-4c0f-9b52-0d7a5e1b7c11", "90ab4d7e-0c55-4c1d-8f0e-6b1f2d3a4e55");
    // Sorted by type of name: nothing says which wildcard is whose.
    let sorted = json!([api(one, "10.0.0.4"), api(two, "10.0.1.4"), wildcard("10.0.0.6"), wildcard("10.0.1.6")]);
    Run::on(&sorted).fails_with(&["cannot be told which workspace", one, two, "az network nic list"]);
    // An older endpoint without the third address: the one wildcard may be of either.
    let older = json!([api(one, "10.0.0.4"), wildcard("10.0.0.6"), api(two, "10.0.1.4")]);
    Run::on(&older).fails_with(&["cannot be told which workspace"]);
    // With --lenient what is certain comes out, and no address of unknown owner.
    let run = Run::on_all(&["--lenient"], std::slice::from_ref(&older));
    let lines = lines(&run.records());
    assert!(
        lines.iter().any(|line| line.starts_with(one)) && !lines.iter().any(|line| line.contains("inference")),
        "{lines:#?}"
    );
    // A column that says whose each row is decides.
    let owned = |row: &serde_json::Value, nic: &str| {
        let mut row = row.clone();
        row["nic"] = nic.into();
        row
    };
    let rows = json!([owned(&older[0], "a"), owned(&older[1], "b"), owned(&older[2], "b")]);
    let lines = super::lines(&Run::on(&rows).records());
    assert!(lines.contains(&format!("*.{two}.inference.westeurope.privatelink.api.azureml.ms 10.0.0.6")), "{lines:#?}");
}

#[test]
fn two_rows_that_disagree_are_never_resolved_in_silence() {
    let rows = json!([
        {"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.4"},
        {"FQDNs": ["a.blob.core.windows.net"], "IPAddress": "10.0.0.5"},
    ]);
    Run::on(&rows).fails_with(&["a.blob.core.windows.net A is 10.0.0.4", "but 10.0.0.5", "$[0]", "$[1]", "--prefer"]);
    Run::on_all(&["--lenient"], std::slice::from_ref(&rows)).fails_with(&["--prefer"]);
    let run = Run::on_all(&["--prefer", "all"], std::slice::from_ref(&rows));
    assert_eq!(run.public(), set(&["a.blob.core.windows.net 10.0.0.4 10.0.0.5"]));
    assert!(run.err.contains("warning"), "{}", run.err);
    let run = Run::on_all(&["--prefer", "first"], std::slice::from_ref(&rows));
    assert_eq!(run.public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
    Run::on_all(&["--prefer", "newest"], &[rows]).fails_with(&["nothing says which of them is newer"]);
}

#[test]
fn newest_goes_by_what_objects_say_then_by_the_time_of_files() {
    let dir = Scratch::new();
    let row = |address: &str| json!([{"FQDNs": ["a.blob.core.windows.net"], "IPAddress": address}]).to_string();
    let (old, new) = (dir.write("b-old.json", &row("10.0.0.4")), dir.write("a-new.json", &row("10.0.0.5")));
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    for order in [[&old, &new], [&new, &old]] {
        let run = Run::new(&[order[0], order[1], "--prefer", "newest"], b"");
        assert_eq!(run.public(), set(&["a.blob.core.windows.net 10.0.0.5"]));
    }
    let endpoint = |name: &str, address: &str, changed: &str| {
        let target = super::messages::storage("a");
        let mut it = super::messages::endpoint(
            name,
            &target,
            "Approved",
            json!([{"fqdn": "a.blob.core.windows.net", "ipAddresses": [address]}]),
        );
        it["systemData"] = json!({"lastModifiedAt": changed, "lastModifiedBy": "somebody@example.com"});
        it
    };
    let list = json!([
        endpoint("pe1", "10.0.0.6", "2026-05-01T00:00:00Z"),
        endpoint("pe2", "10.0.0.7", "2026-04-30T23:59:59.9Z")
    ]);
    let run = Run::on_all(&["--prefer", "newest"], &[list]);
    // The privatelink name follows the same source.
    assert_eq!(
        lines(&run.records()),
        set(&["a.blob.core.windows.net 10.0.0.6", "a.privatelink.blob.core.windows.net 10.0.0.6"])
    );
    assert!(!run.err.contains("example.com"), "{}", run.err);
}

#[test]
fn a_preferred_workspace_endpoint_gives_all_names_their_address() {
    let id = "3f0c2a51-6a1e-4c0f-9b52-0d7a5e1b7c11";
    let nic = |last: u8| {
        json!([
            {"FQDNs": [format!("{id}.workspace.eastus.api.azureml.ms")], "IPAddress": format!("10.{last}.0.4")},
            {"FQDNs": [format!("ml-w-eastus-{id}.eastus.notebooks.azure.net")], "IPAddress": format!("10.{last}.0.5")},
            {"FQDNs": ["*.eastus.inference.ml.azure.com"], "IPAddress": format!("10.{last}.0.6")},
        ])
    };
    for (first, second) in [(7, 2), (2, 7)] {
        let run = Run::on_all(&["--prefer", "first", "--compute-instance", "ci"], &[nic(first), nic(second)]);
        let lines = lines(&run.records());
        let network = format!(" 10.{first}.");
        assert!(lines.len() > 14 && lines.iter().all(|line| line.contains(&network)), "{lines:#?}");
    }
}

#[test]
fn one_unknown_name_among_many_leaves_the_rest_usable() {
    let rows: Vec<_> = (0..100)
        .map(|at| json!({"FQDNs": [if at == 50 { "www.example.com".to_owned() } else { format!("acct{at}.blob.core.windows.net") }], "IPAddress": format!("10.0.0.{at}")}))
        .skip(1)
        .collect();
    let dir = Scratch::new();
    let (input, output) = (dir.write("in.json", &json!(rows).to_string()), dir.path_of("out.toml"));
    let run = Run::new(&[&input, "-o", &output], b"");
    run.fails_with(&[
        "in.json, $[49].FQDNs[0]: error: www.example.com",
        "--allow 'www.example.com'",
        "196 are not concerned",
        "--lenient",
    ]);
    assert!(!std::path::Path::new(&output).exists(), "no file is written");
    let run = Run::new(&[&input, "--lenient", "-o", &output], b"");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("warning: www.example.com") && !run.err.contains("error"), "{}", run.err);
    assert_eq!(super::read_back(&super::text_of(&output)).len(), 2 * 98);
}

#[test]
fn messages_of_a_kind_are_counted_after_ten() {
    let rows: Vec<_> =
        (0..300).map(|at| json!({"FQDNs": [format!("h{at}.example.com")], "IPAddress": "10.0.0.4"})).collect();
    let run = Run::on(&json!(rows));
    run.fails_with(&["290 more messages of this kind"]);
    assert_eq!(run.err.matches("is not a name of an Azure service").count(), 10, "{}", run.err);
}

#[test]
fn instances_get_their_applications_whatever_their_port() {
    let api = "10.50.0.5";
    let expected: Vec<String> = ["instances.azureml.ms", "instances.ml.azure.ms"]
        .iter()
        .flat_map(|suffix| {
            ["ci-anna", "ci-anna-22", "ci-anna-*"].map(|label| format!("{label}.westeurope.{suffix} {api}"))
        })
        .collect();
    let of_instances = |run: &Run| -> Vec<String> {
        let lines = lines(&run.records()).into_iter();
        lines.filter(|line| line.contains("instances")).collect()
    };
    let found = of_instances(&run("ws-rows.json", &["--compute-instance", "ci-anna"]));
    assert_eq!(set(&found.iter().map(String::as_str).collect::<Vec<_>>()), expected.iter().cloned().collect());
    // The list of computes names them too, clusters not among them; never the instance's own address.
    let run = run("ws-rows.json", &["tests/it/generate/field/computes.json"]);
    let mut with_list = expected;
    with_list.push(format!("ci-anna-8787.westeurope.instances.azureml.ms {api}"));
    assert_eq!(
        of_instances(&run).into_iter().collect::<std::collections::BTreeSet<_>>(),
        with_list.into_iter().collect()
    );
    assert_eq!(run.err, "");
    self::run("computes.json", &[]).fails_with(&[
        "compute instance ci-anna was left out",
        "workspace orchid-ws",
        "az network nic show",
    ]);
    // As the command line lists them.
    let listed = json!([{"id": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/orchid-ws/computes/ci-bo",
        "name": "ci-bo", "type": "computeinstance", "location": "westeurope", "state": "Running",
        "services": [{"display_name": "RStudio", "endpoint_uri": "https://ci-bo-8787.westeurope.instances.azureml.ms"}, {"display_name": "Evil", "endpoint_uri": "https://login.microsoftonline.com/"}]}]);
    let rows: serde_json::Value = serde_json::from_str(include_str!("field/ws-rows.json")).unwrap();
    let run = Run::on_all(&[], &[rows, listed]);
    assert_eq!(of_instances(&run).len(), 7);
    assert!(run.err.contains("login.microsoftonline.com is not a host name of compute instance ci-bo"), "{}", run.err);
}

#[test]
fn the_regional_wildcard_carries_a_comment_and_can_be_left_out() {
    let run = run("ws-rows.json", &[]);
    let with = run.out.clone();
    let (before, _) = with.split_once("[[record]]\nname = \"*.westeurope.inference.ml.azure.com\"").unwrap();
    let comment = before.trim_end().lines().last().unwrap();
    assert!(
        comment.starts_with("# ") && comment.contains("other workspaces") && comment.contains("--no-regional-wildcard"),
        "{comment}"
    );
    let without = self::run("ws-rows.json", &["--no-regional-wildcard"]);
    let mut expected = run.records();
    expected.retain(|(name, _), _| name != "*.westeurope.inference.ml.azure.com");
    assert_eq!((without.records(), without.err.as_str()), (expected, ""));
}

#[test]
fn connections_that_are_not_approved_get_a_hint_that_fits() {
    run("pe-disconnected.json", &[]).fails_with(&[
        "pe-dis carries no traffic",
        "Disconnected",
        "delete the endpoint",
        "create it again",
    ]);
    let run = run("pe-list.json", &["--lenient"]);
    assert_eq!(run.public(), set(&["orchidone.blob.core.windows.net 10.41.3.4"]));
    assert!(!run.err.contains("error"), "{}", run.err);
    self::run("pe-list.json", &[]).fails_with(&[
        "pe-b carries no traffic",
        "approve it",
        "pe-c lists no name",
        "2 are not concerned",
    ]);
}

#[test]
fn a_resource_tells_the_state_of_an_endpoint_that_is_not_given() {
    let endpoint = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe1";
    let nic = json!({"type": "Microsoft.Network/networkInterfaces", "privateEndpoint": {"id": endpoint}, "ipConfigurations": [
        {"privateIPAddress": "10.0.0.4", "privateLinkConnectionProperties": {"groupId": "blob", "fqdns": ["a.blob.core.windows.net"]}}]});
    let account = |status: &str| {
        json!({"type": "Microsoft.Storage/storageAccounts", "name": "a", "privateEndpointConnections": [
        {"privateEndpoint": {"id": endpoint.to_uppercase()}, "privateLinkServiceConnectionState": {"status": status}}]})
    };
    Run::on_all(&[], &[nic.clone(), account("Rejected")]).fails_with(&[
        "pe1 carries no traffic",
        "Rejected",
        "delete the endpoint",
    ]);
    assert_eq!(Run::on_all(&[], &[nic, account("Approved")]).public(), set(&["a.blob.core.windows.net 10.0.0.4"]));
}

#[test]
fn rows_of_a_hub_and_its_projects_share_their_addresses() {
    let ids = ["3f0c2a51-6a1e-4c0f-9b52-0d7a5e1b7c11", "90ab4d7e-0c55-4c1d-8f0e-6b1f2d3a4e55"];
    let api: Vec<String> = ids.iter().map(|id| format!("{id}.workspace.eastus.api.azureml.ms")).collect();
    let rows = json!([
        {"FQDNs": [api[0]], "IPAddress": "10.0.0.4"},
        {"FQDNs": [api[1]], "IPAddress": "10.0.0.4"},
        {"FQDNs": ["*.eastus.inference.ml.azure.com"], "IPAddress": "10.0.0.6"},
    ]);
    let lines = lines(&Run::on(&rows).records());
    for id in ids {
        assert!(lines.contains(&format!("*.{id}.inference.eastus.privatelink.api.azureml.ms 10.0.0.6")), "{lines:#?}");
    }
}

#[test]
fn two_endpoints_of_one_service_are_one_record_for_each_network() {
    run("pe-two-networks.json", &[]).fails_with(&["pe-hub", "pe-dr", "10.41.3.4", "10.42.3.4", "--clients"]);
    let list: serde_json::Value = serde_json::from_str(include_str!("field/pe-two-networks.json")).unwrap();
    for (endpoint, network, address) in
        [(&list[0], "10.41.0.0/16", "10.41.3.4"), (&list[1], "10.42.0.0/16", "10.42.3.4")]
    {
        let run = Run::on_all(&["--clients", network, "--clients", "192.168.0.1"], std::slice::from_ref(endpoint));
        assert_eq!(run.code, Some(0), "{}", run.err);
        let table: toml::Table = run.out.parse().unwrap();
        for record in table["record"].as_array().unwrap() {
            assert_eq!(record["data"][0].as_str(), Some(address));
            assert_eq!(
                record["clients"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect::<Vec<_>>(),
                [network, "192.168.0.1/32"]
            );
        }
    }
    let run = Run::on_all(&["--clients", "10.1.0.0/8"], &[list]);
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("10.0.0.0/8"), "{}", run.err);
}

#[test]
fn what_people_paste_is_named_and_shown_with_the_next_step() {
    for (file, parts) in [
        ("az-table.txt", &["az-table.txt:1:1", "table", "| IPAddress    FQDNs", "--output json"][..]),
        ("az.tsv", &["tab-separated", "orchidstore.blob.core.windows.net 10.40.2.9", "--output json"]),
        ("az.yaml", &["YAML", "| - FQDNs:", "--output json"]),
        ("own-zone.json", &["corp.contoso.example is not a private DNS zone", "--allow 'corp.contoso.example'"]),
        ("zg-norecordsets.json", &["has no record in privatelink.blob.core.windows.net"]),
    ] {
        run(file, &[]).fails_with(parts);
    }
    for (text, parts) in [
        (
            "ERROR: (ResourceGroupNotFound) Resource group 'rg-x' could not be found.\nCode: ResourceGroupNotFound\n",
            &["ResourceGroupNotFound", "az account show"][..],
        ),
        ("ERROR: Please run 'az login' to setup account.\n", &["sign in", "az login"]),
        (
            "To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code ABCD1234\n",
            &["sign in"],
        ),
        ("ERROR: something new\n", &["error message", "| ERROR: something new"]),
        ("az: error: unrecognized arguments: --idz\n", &["usage"]),
        ("bash: az: command not found\n", &["shell"]),
        ("[]", &["the list is empty", "az account show"]),
        ("{\"value\": []}", &["the list is empty"]),
        ("{}", &["the list is empty"]),
        (
            "{\"error\": {\"code\": \"AuthorizationFailed\", \"message\": \"The client 'x' does not have authorization\"}}",
            &["AuthorizationFailed", "Reader"],
        ),
        (
            "\"/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/networkInterfaces/nic\"",
            &["the id of a network interface", "az network nic show"],
        ),
        ("{\"a\": 1, // comment\n}", &["JSON has no comments", "|"]),
        ("WARNING: only this\n", &["its result is missing"]),
        (
            "# 2 records\n\n[[record]]\nname = \"a.b\"\n",
            &["a records file of pldns", "| [[record]]", "[records] files"],
        ),
        ("[{\"FQDNs\": [\"https://a.blob.core.windows.net/\"], \"IPAddress\": \"10.0.0.4\"}]", &["this is a URL"]),
        (
            "[{\"FQDNs\": [\"a.blob.core.windows.net\"], \"one\": \"10.0.0.4\", \"two\": \"10.0.0.5\"}]",
            &["several addresses", "one, two"],
        ),
        (
            "[{\"host name\": [\"a.blob.core.windows.net\"], \"place\": {\"deep\": {\"at\": \"10.0.0.5\"}}}]",
            &["was not understood", "host name, place", "FQDNs and IPAddress"],
        ),
    ] {
        Run::new(&[], text.as_bytes()).fails_with(parts);
    }
    let run = run("az-warning.txt", &[]);
    assert_eq!(run.public(), set(&["orchidstore.blob.core.windows.net 10.40.2.9"]));
    assert!(
        run.err.contains("az-warning.txt:1:1: warning") && run.err.contains("| WARNING: The behavior"),
        "{}",
        run.err
    );
}

#[test]
fn lines_of_hosts_files_are_read() {
    let run = run("hosts.txt", &[]);
    let names: Vec<_> = run.public().into_iter().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|line| line.ends_with(" 10.1.0.5")));
    Run::new(&[], b"10.0.0.4 a.blob.core.windows.net\n10.0.0.5 a.blob.core.windows.net\n").fails_with(&[
        "standard input:1:1",
        "standard input:2:1",
        "--prefer",
    ]);
}

#[test]
fn record_sets_with_a_wildcard_over_everybody_leave_the_rest() {
    let run = run("recordsets-a.json", &["--lenient"]);
    let expected =
        ["orchidone", "vm-auto", "orchidpub"].map(|name| format!("{name}.privatelink.blob.core.windows.net"));
    let names: std::collections::BTreeSet<String> = run.records().into_keys().map(|(name, _)| name).collect();
    assert_eq!(names, expected.into_iter().collect());
    assert!(run.err.contains("20.60.1.9 is a public address"), "{}", run.err);
}

#[test]
fn utf16_without_a_mark_is_read() {
    let text = "[{\"FQDNs\": [\"a.blob.core.windows.net\"], \"IPAddress\": \"10.0.0.4\"}]\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [little, big] {
        assert_eq!(Run::new(&[], &bytes).records().len(), 2);
    }
}
