//! The one cast of examples, README and tests: workspace `myworkspace` in eastus, its three addresses, its names.

/// The workspace id.
pub(crate) const GUID: &str = "fb7e20a0-8891-458b-b969-55ddb3382f51";
/// The workspace's API name.
pub(crate) const API: &str = "fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms";
/// The notebook host as the interface lists it.
pub(crate) const NOTEBOOK: &str =
    "ml-myworkspace-eastus-fb7e20a0-8891-458b-b969-55ddb3382f51.eastus.notebooks.azure.net";

/// The records that answer the workspace's names.
pub(crate) const RECORDS: &str = r#"
[[record]]
name = "fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.api.azureml.ms"
type = "A"
data = ["10.1.0.5"]

[[record]]
name = "fb7e20a0-8891-458b-b969-55ddb3382f51.workspace.eastus.cert.api.azureml.ms"
type = "A"
data = "10.1.0.5"

[[record]]
name = "*-eastus-fb7e20a0-8891-458b-b969-55ddb3382f51.eastus.notebooks.azure.net"
type = "A"
data = "10.1.0.6"

[[record]]
name = "*.eastus.inference.ml.azure.com"
type = "A"
data = "10.1.0.7"

[[record]]
name = "*.fb7e20a0-8891-458b-b969-55ddb3382f51.inference.eastus.privatelink.api.azureml.ms"
type = "A"
data = "10.1.0.7"
"#;

/// One record of the table, as its file writes it.
pub(crate) fn record(name: &str, kind: &str, data: &[&str]) -> String {
    record_with(name, kind, data, "")
}

/// One record with further keys, each on its line.
pub(crate) fn record_with(name: &str, kind: &str, data: &[&str], more: &str) -> String {
    // Literal strings: record data may hold quotes and backslashes.
    let data: Vec<String> = data.iter().map(|one| format!("'{one}'")).collect();
    format!("[[record]]\nname = '{name}'\ntype = \"{kind}\"\ndata = [{}]\n{more}\n\n", data.join(", "))
}

/// One zone's settings.
pub(crate) fn zone(name: &str, missing: &str) -> String {
    format!("[[zone]]\nname = \"{name}\"\nmissing = \"{missing}\"\n\n")
}
