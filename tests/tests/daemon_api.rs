//! The socket of `zc daemon`: who is answered, what, and who is not.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    time::Duration,
};

use serde_json::Value;
use zc_tests::{
    daemon::{self, Daemon, request},
    job::Job,
    machine::{self, python},
    zc::Zc,
};

#[test]
fn one_daemon_serves_a_socket_and_one_that_was_killed_leaves_nothing_in_the_way() {
    let Some(zc) = Zc::with(&[]) else { return };
    let daemon = Daemon::start(&zc, "");
    let dir = machine::temp_dir();
    let config = dir.path().join("second.toml");
    fs::write(
        &config,
        format!(
            "[account]\ncount_calls = true\n[history]\nenabled = false\n[api]\nsocket = {:?}\n",
            daemon.socket()
        ),
    )
    .expect("a configuration");
    let config = config.to_str().expect("UTF-8").to_owned();
    let second = zc.job(&["daemon", "--config", &config]).finish();
    assert_eq!(second.code(), 1, "{}", second.stderr);
    assert!(second.stderr.contains("another zc daemon (process "), "{}", second.stderr);
    let mut dir = daemon.kill();
    for _ in 0..3 {
        let mut daemon = Daemon::start_in(&zc, "", dir);
        assert_eq!(daemon.get("/v1/health").json()["status"], "ok");
        // Somebody tidies up.
        fs::remove_file(daemon.socket()).expect("its socket");
        daemon.running().wait_for_error("there is a new one");
        assert_eq!(daemon.get("/v1/health").json()["status"], "ok");
        dir = daemon.kill();
    }
}

#[test]
fn nobody_asks_who_may_not_and_nobody_changes_who_may_only_ask() {
    let Some(zc) = Zc::with(&["setpriv", "curl"]) else { return };
    // Where nothing but the socket itself keeps others out.
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
    let daemon = Daemon::start_in(&zc, "", dir);
    let socket = daemon.socket();
    let metadata = fs::metadata(&socket).expect("the socket");
    // There is no group of this name here, or there is: never is anything open to others.
    assert!(matches!(metadata.mode() & 0o777, 0o600 | 0o660), "{:o}", metadata.mode());
    let ask = |words: &[&str]| {
        let mut all = vec!["setpriv", "--reuid=54321", "--clear-groups", "--regid=54321"];
        all.extend(["curl", "-s", "-S", "--unix-socket", socket.to_str().expect("UTF-8")]);
        all.extend(words);
        Job::new(&all).finish()
    };
    let refused = ask(&["http://zc/v1/report"]);
    // Whoever is let in by the socket's mode may ask, and change nothing.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).expect("open to all");
    let asked = ask(&["http://zc/v1/health"]);
    let changed =
        ask(&["-X", "PUT", "-d", "{\"all\": true}", "-w", "%{http_code}", "http://zc/v1/selection"]);
    assert!(refused.code() != 0 && refused.stdout_text().is_empty(), "{}", refused.stdout_text());
    assert!(asked.stdout_text().contains("uptime_seconds"), "{}{}", asked.stdout_text(), asked.stderr);
    assert!(changed.stdout_text().ends_with("403"), "{}", changed.stdout_text());
    assert_eq!(daemon.get("/v1/selection").json()["all"], false);
    daemon.stop();
}

#[test]
fn clients_that_say_nothing_or_rubbish_keep_nobody_waiting() {
    let Some(zc) = Zc::with(&[]) else { return };
    let daemon = Daemon::start(&zc, "");
    let connect = || UnixStream::connect(daemon.socket()).expect("a connection");
    for rubbish in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        &vec![b'x'; 100_000],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PUT /v1/selection HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
    ] {
        let mut stream = connect();
        // It may be refused before all of it is read.
        let _ = stream.write_all(rubbish);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    let large = request(&daemon.socket(), "PUT", "/v1/selection", &"x".repeat(300 << 10));
    assert!(large.is_err() || large.is_ok_and(|answer| answer.status == 413));
    // Almost as many as there may be.
    let silent: Vec<_> = (0..60).map(|_| connect()).collect();
    assert_eq!(daemon.get("/v1/health").json()["status"], "ok");
    drop(silent);
    daemon.stop();
}

/// More clients than may be there at once wait, and when the silent ones are sent away, everybody is served.
#[test]
fn more_clients_than_there_may_be_wait_for_their_turn() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let config = dir.path().join("zc.toml");
    let socket = dir.path().join("zc.sock");
    fs::write(&config, format!("[account]\ncount_calls = true\n[history]\nenabled = false\n[api]\nsocket = {socket:?}\nclients_max = 4\n"))
        .expect("it");
    let mut running = zc.job(&["daemon", "--config", config.to_str().expect("UTF-8")]).start();
    running.wait_for_error(" ready ");
    let silent: Vec<_> = (0..9).map(|_| UnixStream::connect(&socket).expect("a connection")).collect();
    // The first four are sent away when they have said nothing for some seconds, and so on.
    let answer = request(&socket, "GET", "/v1/health", "").expect("an answer");
    assert_eq!(answer.status, 200);
    drop(silent);
    running.signal(libc::SIGTERM);
    assert_eq!(running.finish().code(), 0);
}

/// Each answer is what the description says, as another program reads it.
#[test]
fn answers_are_as_they_are_described() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    if !machine::require_python("import jsonschema") {
        return;
    }
    let daemon = Daemon::start(&zc, "[account]\nscan = \"100ms\"");
    let mut cat = Job::new(&["cat"]).with_input().start();
    daemon.trace(cat.pid());
    cat.input(b"text");
    cat.wait_for_output("text");
    let described = daemon.get("/v1/openapi.json").json();
    let mut answers = serde_json::Map::new();
    for (path, methods) in described["paths"].as_object().expect("paths") {
        let responses = &methods["get"]["responses"];
        if path == "/metrics" {
            continue;
        }
        let answer = daemon.get(path);
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        let schema = &responses["200"]["content"]["application/json"]["schema"];
        answers.insert(path.clone(), serde_json::json!({ "answer": answer.json(), "schema": schema }));
        // What goes wrong is described as well.
        if responses["400"].is_object() {
            let wrong = daemon.get(&format!("{path}?what=x"));
            assert_eq!(wrong.status, 400);
            let schema = &responses["400"]["content"]["application/json"]["schema"];
            let answer: Value = serde_json::from_str(&wrong.body).expect("JSON");
            answers
                .insert(format!("{path}?what=x"), serde_json::json!({ "answer": answer, "schema": schema }));
        }
    }
    assert!(answers.len() > 8);
    let all = serde_json::json!({ "answers": answers, "components": described["components"] });
    let script = r#"
import json, sys, jsonschema
all = json.load(sys.stdin)
for path, case in all["answers"].items():
    schema = dict(case["schema"], components=all["components"])
    jsonschema.Draft202012Validator.check_schema(schema)
    for error in jsonschema.Draft202012Validator(schema).iter_errors(case["answer"]):
        print(path, error.json_path, error.message)
"#;
    let done = Job::new(&[python(), "-c", script]).with_input().finish_with(all.to_string().as_bytes());
    assert!(done.code() == 0 && done.stdout_text().is_empty(), "{}{}", done.stdout_text(), done.stderr);
    cat.finish();
    daemon.stop();
}

/// Whoever asks without a group sees the same by another way in as by zc's own client.
#[test]
fn loopback_has_health_alone() {
    let Some(zc) = Zc::with(&["curl"]) else { return };
    let dir = machine::temp_dir();
    let port = machine::free_port();
    let config = dir.path().join("zc.toml");
    let socket = dir.path().join("zc.sock");
    fs::write(
        &config,
        format!("[account]\ncount_calls = true\n[history]\nenabled = false\n[api]\nsocket = {socket:?}\nlisten = \"127.0.0.1:{port}\"\n"),
    )
    .expect("it");
    let mut running = zc.job(&["daemon", "--config", config.to_str().expect("UTF-8")]).start();
    running.wait_for_error(" ready ");
    let ask = |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}");
        Job::new(&["curl", "-s", "-w", "%{http_code}", &url]).finish().stdout_text()
    };
    assert!(ask("/v1/health").ends_with("200"));
    for path in ["/v1/report", "/v1/top", "/v1/flows", "/v1/selection"] {
        assert!(ask(path).ends_with("404"), "{path}");
    }
    assert_eq!(daemon::request(&socket, "GET", "/v1/report", "").expect("an answer").status, 200);
    running.signal(libc::SIGTERM);
    assert_eq!(running.finish().code(), 0);
}
