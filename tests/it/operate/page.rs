//! The status page and what feeds it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use privatelink_dns::admin::OPENAPI;
use serde_json::Value;

use super::http::fits;
use super::server::{RECORDS, Scratch, Server, ask, request, settings};

/// The part of a text between two others.
#[track_caller]
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?}")).0
}

/// What stands in all attributes of this name.
fn attributes<'t>(html: &'t str, name: &str) -> Vec<&'t str> {
    html.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The document without style and script, and these two.
#[track_caller]
fn parts(body: &str) -> (String, String, String) {
    let (style, script) = (between(body, "<style", "</style>"), between(body, "<script", "</script>"));
    (body.replace(style, "").replace(script, ""), style.to_owned(), script.to_owned())
}

#[test]
fn the_page_is_whole_and_its_policy_lets_nothing_else_run() {
    let server = Server::start("");
    let page = server.get("admin", "/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html; charset=utf-8"), "{}", page.head);
    for header in ["cache-control: no-store", "referrer-policy: no-referrer", "x-content-type-options: nosniff"] {
        assert!(page.head.contains(header), "{header}: {}", page.head);
    }
    let policy = between(&page.head, "content-security-policy: ", "\r\n");
    let nonce = between(policy, "script-src 'nonce-", "'");
    assert_eq!(nonce.len(), 32);
    for part in [
        "default-src 'none'",
        &format!("style-src 'nonce-{nonce}'"),
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|one| one == part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    let (html, style, script) = parts(&page.body);
    for element in [&style, &script] {
        assert!(element.starts_with(&format!(" nonce=\"{nonce}\">")), "{}", &element[..60]);
    }
    assert_eq!((page.body.matches("<script").count(), page.body.matches("<style").count()), (1, 1));
    // Another number each time: one that was seen is of no use.
    let again = server.get("admin", "/");
    assert!(!again.body.contains(nonce) && !again.head.contains(nonce));

    // Nothing from elsewhere.
    for link in attributes(&html, "href").into_iter().chain(attributes(&html, "src")) {
        assert!(
            link.starts_with(['/', '#']) && !link.starts_with("//") || link.starts_with("data:image/svg+xml,"),
            "{link}"
        );
    }
    assert!(!style.contains("url(") && !style.contains("@import"));
    let fetched: BTreeSet<&str> = script
        .split("get(`")
        .chain(script.split("get('"))
        .skip(1)
        .filter(|rest| rest.starts_with('/'))
        .map(|rest| rest.split(['\'', '`', '?']).next().unwrap())
        .collect();
    assert_eq!(fetched, BTreeSet::from(["/explain", "/history", "/records", "/status"]));
    assert!(!script.replace("http://www.w3.org/2000/svg", "").contains("://"));
    // Nothing that the policy would have to let through, and no text that becomes markup.
    for word in [" style=\"", "javascript:", " onclick", " onload", " onsubmit", "<iframe", "<object", "<base"] {
        assert!(!html.contains(word), "{word}");
    }
    for word in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "localStorage"]
    {
        assert!(!script.contains(word), "{word}");
    }
    assert!(page.body.len() < 64 << 10, "{} bytes", page.body.len());
    for path in ["/index.html", "/page.js", "/page.css", "/favicon.ico", "/status/", "//"] {
        assert_eq!(server.get("admin", path).status, 404, "{path}");
    }
    assert_eq!(server.get("health", "/").status, 404);
    server.stop();
}

#[test]
fn the_page_can_be_used_without_eyes_and_without_a_mouse() {
    let server = Server::start("");
    let (html, style, _) = parts(&server.get("admin", "/").body);
    assert!(html.contains("<html lang=\"en\">") && html.contains("width=device-width"));
    for landmark in ["<header", "<main", "<footer", "<h1", "<noscript", "class=\"skip\" href=\"#explain\""] {
        assert_eq!(html.matches(landmark).count(), 1, "{landmark}");
    }
    let ids = attributes(&html, "id");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each id once");
    for field in html.split("<input ").chain(html.split("<select ")).filter(|rest| rest.starts_with("id=")) {
        let id = between(field, "id=\"", "\"");
        assert!(html.contains(&format!("<label for=\"{id}\">")), "no label for {id}");
    }
    for named in ["aria-labelledby", "aria-describedby"] {
        for id in attributes(&html, named).into_iter().flat_map(|list| list.split(' ')) {
            assert!(ids.contains(&id), "{named} names {id}");
        }
    }
    let columns = html.matches("<th ").count();
    assert_eq!(columns, html.matches("<th scope=\"col\"").count());
    let tags = html.split('<').filter(|tag| tag.starts_with("div") || tag.starts_with("span"));
    assert!(
        tags.clone().count() > 5 && tags.clone().all(|tag| !tag.contains("role=\"button\"")),
        "buttons are buttons"
    );
    for rule in ["prefers-color-scheme: dark", ":focus-visible", "tabular-nums", "max-width: 36rem", "forced-colors"] {
        assert!(style.contains(rule), "{rule}");
    }
    server.stop();
}

#[test]
fn every_figure_of_the_status_is_shown() {
    fn keys(schema: &Value, into: &mut BTreeSet<String>) {
        for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
            into.insert(key.clone());
            keys(schema, into);
        }
        if schema["items"].is_object() {
            keys(&schema["items"], into);
        }
    }
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let server = Server::start("");
    let (html, _, script) = parts(&server.get("admin", "/").body);
    let mut shown = BTreeSet::new();
    keys(&document["components"]["schemas"]["Status"], &mut shown);
    assert!(shown.len() > 40, "{shown:?}");
    shown.extend(["answered", "refused", "dropped", "p50", "p99", "latency_us"].map(str::to_owned));
    let missing: Vec<_> = shown.iter().filter(|key| !script.contains(*key) && !html.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // And each source of answers belongs to a line.
    for source in
        document["components"]["schemas"]["History"]["properties"]["answered"]["properties"].as_object().unwrap()
    {
        assert!(script.contains(&format!("'{}'", source.0)), "{}", source.0);
    }
    server.stop();
}

#[test]
fn the_history_has_what_was_answered_since() {
    let server = Server::start("");
    for _ in 0..5 {
        assert!(ask(server.dns, "a.example").is_some());
    }
    let history = server.get("admin", "/history");
    assert!(history.head.contains("cache-control: no-store") && history.body.len() < 64 << 10);
    let history = history.json();
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    fits(&history, &document["components"]["schemas"]["History"], &document, "/history");
    let sum = |list: &Value| list.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum(&history["answered"]["record"]), 5, "{history}");
    assert_eq!((sum(&history["answered"]["upstream"]), sum(&history["dropped"])), (0, 0));
    let median = &history["latency_us"]["records"]["p50"];
    assert!(median.as_array().unwrap().iter().any(Value::is_u64), "{history}");
    assert!(history["latency_us"]["forwarded"]["p99"].as_array().unwrap().iter().all(Value::is_null), "{history}");
    let samples = history["milliseconds"].as_array().unwrap().len();
    for list in [&history["sent"], median, &history["answered"]["cache"]] {
        assert_eq!(list.as_array().unwrap().len(), samples);
    }
    let status = server.get("admin", "/status").json();
    assert_eq!((&status["state"], &status["reload"]["state"]), (&"ready".into(), &"ok".into()));
    assert_eq!((&status["table"]["record_sets"], &status["finding_count"]), (&1.into(), &0.into()));
    assert_eq!(status["cache"]["max_bytes"], 64 << 20);
    assert!(status["memory"]["resident_bytes"].as_u64().unwrap() < status["memory"]["bound_bytes"].as_u64().unwrap());
    server.stop();
}

#[test]
fn the_budget_of_an_upstream_is_beside_its_use() {
    let limits = "[[upstream]]\naddress = \"127.0.0.1:9\"\nqueries_per_second = 40\npending = 7\n";
    let server = Server::start(&format!("{limits}\n[[forward]]\nzone = \".\"\nupstreams = [\"127.0.0.1:9\"]\n"));
    ask(server.dns, "elsewhere.example");
    let upstream = &server.get("admin", "/status").json()["upstreams"][0];
    assert_eq!(upstream["upstream"], "127.0.0.1:9");
    assert_eq!((&upstream["queries_per_second_max"], &upstream["pending_max"]), (&40.into(), &7.into()), "{upstream}");
    assert!(upstream["last_error"]["text"].is_string(), "{upstream}");
    server.stop();
}

#[test]
fn the_page_asks_for_the_token_and_has_no_data_before() {
    let dir = Arc::new(Scratch::new());
    dir.write("records/r.toml", RECORDS);
    dir.write("token", "s3cret\n");
    dir.write("pldns.toml", &settings("[admin]\ntoken_file = \"token\"\n"));
    let server = Server::start_in(dir, |_| {});
    let admin = server.address("admin");
    let page = request(admin, "GET", "/", &[]);
    assert_eq!(page.status, 401);
    assert!(
        page.head.contains("www-authenticate: bearer")
            && page.head.contains("content-security-policy: default-src 'none'")
    );
    assert!(page.body.contains("id=\"secret\"") && !page.body.contains("a.example"), "{}", page.body);
    for path in ["/status", "/history", "/records", "/explain?name=a.example"] {
        let reply = request(admin, "GET", path, &[]);
        assert_eq!(reply.status, 401, "{path}");
        assert!(reply.json()["error"].is_string() && !reply.body.contains("10.0.0.1"), "{path}");
        assert_eq!(request(admin, "GET", path, &["Authorization: Bearer s3cret"]).status, 200, "{path}");
    }
    assert_eq!(request(admin, "GET", "/", &["Authorization: Bearer s3cret"]).status, 200);
    assert_eq!(request(admin, "GET", "/", &["Authorization: Bearer s3cret", "Host: evil.example"]).status, 421);
    server.stop();
}

#[test]
fn records_are_searched_in_parts_and_a_whole_name_is_found_at_once() {
    const COUNT: usize = 9000;
    let dir = Arc::new(Scratch::new());
    let mut text = String::new();
    for number in 0..COUNT {
        let (high, low) = (number / 250, number % 250);
        writeln!(text, "[[record]]\nname = \"n{number:05}.example\"\ntype = \"A\"\ndata = \"10.0.{high}.{low}\"")
            .unwrap();
    }
    text += "[[record]]\nname = \"last.example\"\ntype = \"A\"\ndata = \"10.99.0.1\"\nclients = [\"10.1.0.0/16\"]\n";
    dir.write("records/r.toml", &text);
    dir.write("pldns.toml", &settings(""));
    let server = Server::start_in(dir, |_| {});
    let get = |query: &str| server.get("admin", &format!("/records?{query}")).json();
    let names = |page: &Value| -> Vec<String> {
        let sets = page["sets"].as_array().unwrap();
        sets.iter().map(|set| set["name"].as_str().unwrap().to_owned()).collect()
    };

    // The whole name: at once, wherever it stands.
    let exact = get("search=LAST.example.");
    assert_eq!(names(&exact), ["last.example"]);
    let set = &exact["sets"][0];
    assert_eq!((&set["clients"][0], &set["line"]), (&"10.1.0.0/16".into(), &(COUNT * 4 + 1).into()), "{set}");
    assert!(set["file"].as_str().unwrap().ends_with("records/r.toml"), "{set}");

    // A part of a name or of the data: request by request, each over a part of the table.
    for (search, found) in [("08999", "n08999.example"), ("10.99.0.", "last.example"), ("LAST.ex", "last.example")] {
        let (mut offset, mut requests, mut seen) = (0, 0, Vec::new());
        loop {
            let page = get(&format!("search={search}&offset={offset}&limit=10"));
            seen.extend(names(&page));
            requests += 1;
            let Some(next) = page["next"].as_u64() else { break };
            assert!((offset + 1..=offset + 4000).contains(&next), "{offset} to {next}");
            offset = next;
        }
        assert_eq!((requests, &*seen), (3, &[found.to_owned()][..]), "{search}");
    }
    // Without a search, all of them, none twice.
    let (mut offset, mut seen) = (0, BTreeSet::new());
    loop {
        let page = get(&format!("offset={offset}"));
        assert!(page.to_string().len() < 512 << 10);
        seen.extend(names(&page));
        match page["next"].as_u64() {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(seen.len(), COUNT + 1);
    assert_eq!(names(&get("search=nothing.like.this&offset=8500")), [""; 0]);
    server.stop();
}
