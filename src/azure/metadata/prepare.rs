//! Before a document is read: what it holds as a string, or as an expression of a template, becomes what it stands for.
//!
//! - PowerShell has some members twice, as objects and as JSON text (`NetworkInterfacesText`). Where the object is missing,
//!   or `ConvertTo-Json` shortened it to the name of its class, the text takes its place.
//! - `azapi_resource` of Terraform holds the answer of Resource Manager as JSON text in `output`.
//! - Exported ARM templates write names as expressions over parameters with default values.
//! - Queries over Resource Graph print a list as JSON text.
//! - Outputs of Terraform, Bicep and Pulumi wrap each value as `{"type": ..., "value": ...}`.

use serde_json::{Map, Value};

use super::node::same_key;

/// Prepares a document. Paths stay what they are in the document, except within JSON text.
pub(super) fn prepare(document: &mut Value) {
    if is_template(document) {
        template(document, &Map::new());
    }
    walk(document, 0);
}

fn walk(value: &mut Value, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, depth + 1)),
        Value::Object(members) => {
            use_texts(members);
            members.values_mut().for_each(|member| walk(member, depth + 1));
        }
        // `tostring(...)` of a query over Resource Graph. An expression of a template has no quotation mark there.
        Value::String(text) if text.starts_with("[\"") => {
            if let Ok(texts) = serde_json::from_str::<Vec<String>>(text) {
                *value = texts.into();
            }
        }
        _ => {}
    }
}

/// Puts the object that a text member holds where the object itself is missing.
fn use_texts(members: &mut Map<String, Value>) {
    let texts: Vec<(String, String)> = members
        .iter()
        .filter_map(|(key, value)| {
            let base = key.strip_suffix("Text").or_else(|| key.strip_suffix("_text"));
            let base = base.or_else(|| ["output", "body"].into_iter().find(|name| same_key(key, name)))?;
            Some((base.to_owned(), value.as_str()?.to_owned()))
        })
        .collect();
    for (base, text) in texts {
        let is_usable = members.iter().any(|(key, value)| {
            same_key(key, &base) && !value.is_null() && value.as_str().is_none_or(|text| text.trim().is_empty())
        });
        if is_usable || !text.trim_start().starts_with(['{', '[']) {
            continue;
        }
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            members.retain(|key, _| !same_key(key, &base));
            members.insert(base, value);
        }
    }
}

fn is_template(document: &Value) -> bool {
    let schema = document.get("$schema").and_then(Value::as_str).unwrap_or_default();
    schema.to_ascii_lowercase().contains("deploymenttemplate")
        || document.get("resources").is_some() && document.get("contentVersion").is_some()
}

/// Resolves the expressions of a template, as far as its default values and `given` ones lead.
fn template(document: &mut Value, given: &Map<String, Value>) {
    let mut scope = Scope::default();
    for (name, parameter) in document.get("parameters").and_then(Value::as_object).into_iter().flatten() {
        let value = given.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let value = value.map(|value| value.get("value").unwrap_or(value)).or_else(|| parameter.get("defaultValue"));
        if let Some(value) = value {
            let value = scope.resolved(value, 0);
            scope.parameters.insert(name.to_ascii_lowercase(), value);
        }
    }
    for (name, variable) in document.get("variables").and_then(Value::as_object).into_iter().flatten() {
        let value = scope.resolved(variable, 0);
        scope.variables.insert(name.to_ascii_lowercase(), value);
    }
    if let Some(resources) = document.get_mut("resources") {
        resolve_resources(resources, &scope, None, 0);
    }
    if let Some(outputs) = document.get_mut("outputs") {
        *outputs = scope.resolved(outputs, 0);
    }
}

fn resolve_resources(resources: &mut Value, scope: &Scope, parent: Option<(&str, &str)>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    let resources: Vec<&mut Value> = match resources {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    for resource in resources {
        let inner = resource.pointer_mut("/properties/template").map(Value::take);
        *resource = scope.resolved(resource, 0);
        if let Some(mut inner) = inner {
            let given = resource.pointer("/properties/parameters").and_then(Value::as_object).cloned();
            template(&mut inner, &given.unwrap_or_default());
            if let Some(properties) = resource.get_mut("properties").and_then(Value::as_object_mut) {
                properties.insert("template".to_owned(), inner);
            }
        }
        let Some(members) = resource.as_object_mut() else { continue };
        let text = |members: &Map<String, Value>, key: &str| {
            members.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (mut kind, mut name) = (text(members, "type"), text(members, "name"));
        // A child below its parent states the last part of its type and name alone.
        if let Some((parent_kind, parent_name)) = parent
            && !kind.contains('/')
        {
            kind = format!("{parent_kind}/{kind}");
            name = format!("{parent_name}/{name}");
            members.insert("type".to_owned(), kind.clone().into());
            members.insert("name".to_owned(), name.clone().into());
        }
        if !kind.is_empty() && !name.is_empty() && !members.contains_key("id") {
            members.insert("id".to_owned(), synthetic_id(&kind, &name).into());
        }
        if let Some(children) = members.get_mut("resources") {
            resolve_resources(children, scope, Some((&kind, &name)), depth + 1);
        }
    }
}

/// The id of a resource that was not deployed from this template yet: enough to join its parts by.
fn synthetic_id(kind: &str, name: &str) -> String {
    let mut kinds = kind.split('/');
    let namespace = kinds.next().unwrap_or_default();
    let pairs: String = kinds.zip(name.split('/')).map(|(kind, name)| format!("/{kind}/{name}")).collect();
    format!("/subscriptions/-/resourceGroups/-/providers/{namespace}{pairs}")
}

/// What the expressions of a template may refer to, by names in lower case.
#[derive(Default)]
struct Scope {
    parameters: Map<String, Value>,
    variables: Map<String, Value>,
}

impl Scope {
    /// A value with the expressions in it resolved; what cannot be resolved stays as written.
    fn resolved(&self, value: &Value, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return value.clone();
        }
        match value {
            Value::String(text) => self.expression(text).unwrap_or_else(|| value.clone()),
            Value::Array(items) => items.iter().map(|item| self.resolved(item, depth + 1)).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, member)| (key.clone(), self.resolved(member, depth + 1))).collect()
            }
            other => other.clone(),
        }
    }

    fn expression(&self, text: &str) -> Option<Value> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        if inner.starts_with('[') {
            return None;
        }
        let mut rest = inner;
        let value = self.term(&mut rest, 0)?;
        rest.trim().is_empty().then_some(value)
    }

    /// One literal or call at the beginning of `rest`, which is left at what follows.
    fn term(&self, rest: &mut &str, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        *rest = rest.trim_start();
        if let Some(quoted) = rest.strip_prefix('\'') {
            return Some(Value::String(literal(quoted, rest)?));
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let Some(mut arguments) = behind.trim_start().strip_prefix('(') else {
            *rest = behind;
            return word.parse::<i64>().ok().map(Value::from);
        };
        let mut values = Vec::new();
        loop {
            arguments = arguments.trim_start();
            if let Some(behind) = arguments.strip_prefix(')') {
                *rest = behind;
                break;
            }
            values.push(self.term(&mut arguments, depth + 1)?);
            arguments = arguments.trim_start();
            arguments = arguments.strip_prefix(',').unwrap_or(arguments);
        }
        self.call(word, &values)
    }

    fn call(&self, function: &str, values: &[Value]) -> Option<Value> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let texts = || values.iter().map(text).collect::<Option<Vec<String>>>();
        let name = || values.first().and_then(text).map(|name| name.to_ascii_lowercase());
        match function.to_ascii_lowercase().as_str() {
            "parameters" => self.parameters.get(&name()?).cloned(),
            "variables" => self.variables.get(&name()?).cloned(),
            "concat" => Some(texts()?.concat().into()),
            "tolower" => Some(texts()?.concat().to_ascii_lowercase().into()),
            "format" => {
                let texts = texts()?;
                let (pattern, arguments) = texts.split_first()?;
                let mut out = pattern.clone();
                for (at, argument) in arguments.iter().enumerate() {
                    out = out.replace(&format!("{{{at}}}"), argument);
                }
                Some(out.into())
            }
            "resourceid" => {
                let texts = texts()?;
                let at = texts.iter().position(|text| text.contains('/'))?;
                let (kind, names) = texts.get(at..)?.split_first()?;
                Some(synthetic_id(kind, &names.join("/")).into())
            }
            _ => None,
        }
    }
}

/// A literal in single quotes, doubled inside; `rest` is left after it.
fn literal<'t>(quoted: &'t str, rest: &mut &'t str) -> Option<String> {
    let mut out = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            out.push(c);
        } else if chars.next_if(|(_, next)| *next == '\'').is_some() {
            out.push('\'');
        } else {
            *rest = quoted.get(at + 1..)?;
            return Some(out);
        }
    }
    None
}

/// Levels of nesting that are followed.
const DEPTH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions_of_exported_templates_are_resolved() {
        let mut document = json!({"contentVersion": "1.0.0.0", "parameters": {
        "zone_name": {"defaultValue": "privatelink.blob.core.windows.net", "type": "String"}, "open": {"type": "String"}},
        "variables": {"record": "[concat('it''s', '-', 5)]"},
        "resources": [
            {"type": "Microsoft.Network/privateDnsZones/A", "name": "[concat(parameters('zone_name'), '/acct')]"},
            {"type": "x/y", "name": "[parameters('open')]", "properties": {"a": "[variables('record')]", "id": "[resourceId('M.N/pe', 'one')]"}},
            {"type": "Microsoft.Network/privateDnsZones", "name": "z.example", "resources": [{"type": "A", "name": "b"}]},
        ]});
        prepare(&mut document);
        assert_eq!(document["resources"][0]["name"], "privatelink.blob.core.windows.net/acct");
        assert_eq!(document["resources"][1]["name"], "[parameters('open')]");
        assert_eq!(document["resources"][1]["properties"]["a"], "it's-5");
        assert_eq!(
            document["resources"][1]["properties"]["id"],
            "/subscriptions/-/resourceGroups/-/providers/M.N/pe/one"
        );
        assert_eq!(document["resources"][2]["resources"][0]["name"], "z.example/b");
    }

    #[test]
    fn expressions_that_do_not_end_stay_as_they_are() {
        for text in ["[concat('a", "[concat(", "[", "[]", "[concat(concat(concat(]", "[x('a' 'b')]", "['a''"] {
            let mut document = json!({"contentVersion": "1", "resources": [{"name": text}]});
            prepare(&mut document);
            assert_eq!(document["resources"][0]["name"], text);
        }
    }

    #[test]
    fn json_text_takes_the_place_of_what_was_shortened() {
        let mut document = json!({"Dns": "Some.Class", "DnsText": "[{\"Fqdn\": \"a.b\"}]", "GoodText": "[]", "Good": [1], "output": "{\"x\": 1}"});
        prepare(&mut document);
        assert_eq!(document["Dns"][0]["Fqdn"], "a.b");
        assert_eq!(document["Good"], json!([1]));
        assert_eq!(document["output"]["x"], 1);
    }
}
