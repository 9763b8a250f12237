//! A Prometheus of a test's own: configuration, store and port; and promtool.
//!
//! Nothing here knows who serves the metrics: a test that starts a daemon gives its address.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::{
    job::{Job, Running},
    machine::{free_port, temp_dir, wait_for},
};

/// What ships for Prometheus and Grafana.
pub fn monitoring(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring").join(name)
}

/// Holds a text of metrics to what promtool demands of one, and to its advice.
pub fn assert_clean(text: &str) {
    let done = Job::new(&["promtool", "check", "metrics"]).finish_with(text.as_bytes());
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.code() == 0 && said.is_empty() && done.stderr.is_empty(), "{said}{}\n{text}", done.stderr);
}

/// An answer to a GET.
#[derive(Debug)]
pub struct Answer {
    /// The status line and the headers.
    pub head: String,
    /// What follows.
    pub body: String,
}

/// Asks a server on this machine. `None` when it does not answer.
pub fn get(address: SocketAddr, path: &str, accept: &str) -> Option<Answer> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    // Servers of version 1.0 end at the end, and answer in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    connection.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer { head: head.to_owned(), body: body.to_owned() })
}

/// Who serves metrics, and what Prometheus calls it (`instance`).
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The name.
    pub instance: &'a str,
    /// Where `/metrics` is.
    pub address: SocketAddr,
}

/// A server. It ends with this object, its store with it.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _running: Running,
    _dir: tempfile::TempDir,
}

/// A series that a query returned: its labels, and its value now.
#[derive(Clone, Debug)]
pub struct Series {
    labels: Value,
    /// The value.
    pub value: f64,
}

impl Series {
    /// A label; empty when it has none of this name.
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or("")
    }
}

impl Prometheus {
    /// Starts one that asks these, with the rules that ship, each second, and waits until it is ready.
    pub fn start(targets: &[Target]) -> Self {
        let dir = temp_dir();
        let path = |name: &str| dir.path().join(name).to_str().expect("a UTF-8 path").to_owned();
        let rules = fs::canonicalize(monitoring("zc.rules.yml")).expect("the rules");
        let target = |Target { instance, address }: &Target| {
            format!("  - {{targets: ['{address}'], labels: {{instance: {instance}}}}}\n")
        };
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs:\n- job_name: zc\n  static_configs:\n{}",
            rules.display(),
            targets.iter().map(target).collect::<String>()
        );
        fs::write(path("prometheus.yml"), config).expect("a configuration");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let running = Job::new(&[
            "prometheus",
            &format!("--config.file={}", path("prometheus.yml")),
            &format!("--storage.tsdb.path={}", path("store")),
            &format!("--web.listen-address={address}"),
            "--log.level=warn",
        ])
        .dir(dir.path())
        .start();
        let prometheus = Self { address, _running: running, _dir: dir };
        wait_for("Prometheus to be ready", || {
            let answer = get(address, "/-/ready", "*/*")?;
            answer.head.contains(" 200 ").then_some(())
        });
        prometheus
    }

    /// What its interface says at a path below `/api/v1/`; panics when it refuses.
    pub fn api(&self, path: &str) -> Value {
        let answer = get(self.address, &format!("/api/v1/{path}"), "application/json");
        let Answer { body, .. } = answer.unwrap_or_else(|| panic!("no answer to {path}"));
        let mut answer: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        assert_eq!(answer["status"], "success", "{path}: {body}");
        answer["data"].take()
    }

    /// The value now of an expression, which must be one.
    pub fn query(&self, expression: &str) -> Vec<Series> {
        let answer = self.api(&format!("query?query={}", encoded(expression)));
        assert_eq!(answer["resultType"], "vector", "{expression}");
        let series = |one: &Value| Series {
            labels: one["metric"].clone(),
            value: one["value"][1].as_str().and_then(|value| value.parse().ok()).expect("a number"),
        };
        answer["result"].as_array().expect("series").iter().map(series).collect()
    }

    /// Waits until an expression returns something.
    pub fn wait_for(&self, expression: &str, what: &str) -> Vec<Series> {
        wait_for(what, || Some(self.query(expression)).filter(|series| !series.is_empty()))
    }

    /// Why the last scrape of a target failed; empty when it did not.
    pub fn scrape_error(&self, instance: &str) -> String {
        let targets = self.api("targets");
        let targets = targets["activeTargets"].as_array().expect("targets").iter();
        let errors = targets.filter(|target| target["labels"]["instance"] == instance);
        errors.filter_map(|target| target["lastError"].as_str()).collect()
    }

    /// Names of the rules that ship, each of which must have been worked out without an error.
    pub fn assert_rules_work(&self) -> Vec<String> {
        let rules = wait_for("every rule to be worked out", || {
            let groups = self.api("rules");
            let groups = groups["groups"].as_array().expect("groups").clone();
            let rules: Vec<Value> =
                groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect();
            rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
        });
        for rule in &rules {
            assert!(rule["health"] == "ok" && rule["lastError"].is_null(), "{rule}");
        }
        rules.iter().map(|rule| rule["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Names of alerts that fire, or will when they have gone on for long enough.
    pub fn alerts(&self, instance: &str) -> Vec<String> {
        let alerts = self.api("alerts");
        let alerts = alerts["alerts"].as_array().expect("alerts").iter();
        alerts
            .filter(|alert| alert["labels"]["instance"] == instance)
            .map(|alert| alert["labels"]["alertname"].as_str().expect("a name").to_owned())
            .collect()
    }
}

/// Every expression of the dashboard that ships, with its panel's title and with what Grafana puts in for variables.
pub fn dashboard_expressions() -> Vec<(String, String)> {
    let text = fs::read(monitoring("zc-dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_slice(&text).expect("JSON");
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression.replace("$__rate_interval", "10m").replace("$__range", "10m");
            let expression = expression.replace("$instance", ".*").replace("$service", ".*");
            found.push((panel["title"].as_str().expect("a title").to_owned(), expression));
        }
    }
    found
}

/// As part of the query of a URL.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
