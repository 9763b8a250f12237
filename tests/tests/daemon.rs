//! `zc daemon`: what it says while processes go on, after they have ended, and to whom.

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
    daemon::{self, Daemon, bytes, counted, request, sum},
    job::Job,
    machine::{self, python, wait_for},
    relay::{Relay, wait_until_it_reads},
    zc::Zc,
};

const READ: [&str; 3] = ["read", "read+write", "sendfile"];
const WRITTEN: [&str; 3] = ["write", "read+write", "sendfile"];

fn nothing_lost(daemon: &Daemon) {
    let report = daemon.get("/v1/report").json();
    let lost = report["lost"].as_object().expect("losses");
    assert!(lost.values().all(|count| count == 0), "{lost:?}");
}

#[test]
fn what_a_process_moves_is_what_the_kernel_counts_each_time_that_it_is_asked() {
    let Some(zc) = Zc::with(&[]) else { return };
    let daemon = Daemon::start(&zc, "[account]\ninterval = \"200ms\"\nscan = \"100ms\"");
    let mut relay = Relay::start(3, 5000);
    daemon.trace(relay.pid());
    let before = counted(relay.pid()).expect("its counters");
    let mut last = (0, 0);
    for _ in 0..3 {
        let goal = relay.done() + 1;
        relay.go();
        let mut looks = 0;
        // While it goes on: never more than there was by then, never less than was said before.
        while relay.done() < goal {
            let process = daemon.process(relay.pid()).expect("the process");
            let seen = (bytes(&process, &READ), bytes(&process, &WRITTEN));
            let after = counted(relay.pid()).expect("its counters");
            let most = (after.0 - before.0, after.1 - before.1);
            assert!(seen.0 <= most.0 && seen.1 <= most.1, "{seen:?} of {most:?}");
            assert!(seen.1 >= last.1, "{seen:?} after {last:?}");
            last = seen;
            looks += 1;
        }
        assert!(looks > 0);
        wait_until_it_reads(relay.pid());
        let after = counted(relay.pid()).expect("its counters");
        let process = daemon.process(relay.pid()).expect("the process");
        let own = (after.0 - before.0, after.1 - before.1);
        assert_eq!((bytes(&process, &READ), bytes(&process, &WRITTEN)), own, "{process}");
        assert_eq!((sum(&process, "rchar_bytes"), sum(&process, "wchar_bytes")), own);
        last = own;
    }
    let process = daemon.process(relay.pid()).expect("the process");
    let moved = 3 * 3 * 5000 * 4096;
    assert_eq!(bytes(&process, &["read+write"]), moved, "{process}");
    assert_eq!(process["comm"].as_str(), Some("python3"), "{process}");
    nothing_lost(&daemon);
    relay.finish();
    daemon.stop();
}

/// The process that is chosen makes children, which end: all of them are there once, and then no more.
#[test]
fn processes_that_have_ended_are_reported_and_then_forgotten_by_both_sides() {
    let Some(zc) = Zc::with(&["sh", "cat"]) else { return };
    let daemon = Daemon::start(&zc, "[account]\ninterval = \"1h\"\nscan = \"100ms\"");
    let dir = machine::temp_dir();
    let input = machine::random_file(dir.path(), "in.bin", 100_000);
    let script = format!("echo ready; while read line; do cat {input} > {input}.$line; done");
    let mut shell = Job::new(&["sh", "-c", &script]).with_input().start();
    shell.wait_for_output("ready\n");
    daemon.trace(shell.pid());
    for number in 0..20 {
        shell.input(format!("{number}\n").as_bytes());
    }
    let ended = wait_for("the children's ends", || {
        let report = daemon.get("/v1/report?max_age=0ms&comm=cat").json();
        let ended = report["processes"].as_array().expect("processes").clone();
        (ended.iter().filter(|process| process["exit_code"] == 0).count() == 20).then_some(ended)
    });
    for process in &ended {
        assert_eq!(bytes(process, &["read+write", "copy_file_range"]), 100_000, "{process}");
        assert_eq!(process["ppid"], shell.pid());
    }
    assert_eq!(daemon.get("/v1/health").json()["processes_ended"], 20);
    // Two more intervals, and they are gone; what is counted of them stays.
    daemon.reload("[account]\ninterval = \"100ms\"\nscan = \"100ms\"\n");
    daemon.trace(shell.pid());
    wait_for("them to be forgotten", || {
        let report = daemon.get("/v1/report?max_age=0ms&comm=cat").json();
        report["processes"].as_array().expect("processes").is_empty().then_some(())
    });
    let health = daemon.get("/v1/health").json();
    assert_eq!((&health["processes_ended"], &health["processes_alive"]), (&20.into(), &1.into()), "{health}");
    nothing_lost(&daemon);
    shell.finish();
    daemon.stop();
}

#[test]
fn processes_are_chosen_by_name_user_and_cgroup_and_the_choice_can_be_changed() {
    let Some(zc) = Zc::with(&["cat", "setpriv"]) else { return };
    let dir = machine::temp_dir();
    let named = dir.path().join("zc-chosen");
    fs::copy(machine::find_program("cat").expect("cat"), &named).expect("a copy of cat");
    let named = named.to_str().expect("UTF-8").to_owned();
    fs::set_permissions(&named, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let daemon = Daemon::start(&zc, "[select]\ncomms = [\"zc-chosen\"]\n[account]\nscan = \"100ms\"");
    let start = |words: &[&str]| Job::new(words).with_input().start();
    let mut by_name = start(&[&named]);
    let mut by_user = start(&["setpriv", "--reuid=54321", "--clear-groups", "cat"]);
    let mut neither = start(&["cat"]);
    wait_for("the named one", || daemon.process(by_name.pid()));
    assert!(daemon.process(by_user.pid()).is_none());
    daemon.reload("[select]\nusers = [\"54321\"]\n[account]\nscan = \"100ms\"");
    wait_for("the user's one", || daemon.process(by_user.pid()));
    let selection = daemon.get("/v1/selection").json();
    assert_eq!(
        (&selection["users"], &selection["comms"]),
        (&serde_json::json!(["54321"]), &serde_json::json!([]))
    );
    // A configuration that is wrong changes nothing.
    daemon.reload("[select]\nuser = [\"54321\"]");
    let refused = daemon.select("{\"users\": [\"no such user\"]}");
    assert_eq!((refused.status, refused.body.contains("getent")), (400, true), "{}", refused.body);
    assert_eq!(daemon.get("/v1/selection").json(), selection);
    for (process, text) in [(&mut by_name, "a"), (&mut by_user, "bb"), (&mut neither, "ccc")] {
        process.input(text.as_bytes());
        process.wait_for_output(text);
    }
    for (process, len) in [(&by_name, 1), (&by_user, 2)] {
        let seen = daemon.process(process.pid()).expect("a process that is traced");
        assert_eq!(bytes(&seen, &["read+write"]), len, "{seen}");
    }
    assert!(daemon.process(neither.pid()).is_none(), "nobody has chosen it");
    for process in [by_name, by_user, neither] {
        process.finish();
    }
    daemon.stop();
}

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

#[test]
fn what_is_lost_is_declared_in_health() {
    let Some(zc) = Zc::with(&[]) else { return };
    let daemon = Daemon::start(&zc, "[account]\nscan = \"100ms\"\n[capacity]\nrows_max = 1\n");
    let mut relay = Relay::start(3, 10);
    daemon.trace(relay.pid());
    relay.go_and_wait();
    daemon.get("/v1/report?max_age=0ms").json();
    let health = daemon.get("/v1/health").json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["lost"].as_u64() > Some(0) && health["problems"].to_string().contains("lost"), "{health}");
    relay.finish();
    daemon.stop();
}

#[test]
fn configurations_are_checked_and_printed() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let file = dir.path().join("zc.toml");
    let name = file.to_str().expect("UTF-8");
    let printed = zc.job(&["daemon", "--print-config"]).finish();
    assert_eq!(printed.code(), 0);
    fs::write(&file, printed.stdout_text()).expect("a configuration");
    assert_eq!(zc.job(&["daemon", "--check-config", "--config", name]).finish().code(), 0);
    fs::write(&file, "[select]\nunit = [\"x\"]\n").expect("a configuration");
    for words in [&["daemon", "--check-config", "--config", name][..], &["daemon", "--config", name]] {
        let refused = zc.job(words).finish();
        assert_eq!(refused.code(), 2, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("unknown field `unit`") && refused.stderr.contains("line 2"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_that_it_lives_and_that_it_stops() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let manager = std::os::unix::net::UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let config = dir.path().join("zc.toml");
    fs::write(
        &config,
        format!(
            "[account]\ncount_calls = true\n[history]\nenabled = false\n[api]\nsocket = {:?}\n",
            dir.path().join("zc.sock")
        ),
    )
    .expect("it");
    let job = zc.job(&["daemon", "--config", config.to_str().expect("UTF-8")]);
    let job = job.env("NOTIFY_SOCKET", dir.path().join("notify").to_str().expect("UTF-8"));
    let running = job.env("WATCHDOG_USEC", "400000").start();
    let told = || {
        let mut bytes = [0; 256];
        let len = manager.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!((told(), told()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    running.signal(libc::SIGTERM);
    wait_for("the last message", || (told() == "STOPPING=1").then_some(()));
    assert_eq!(running.finish().code(), 0);
}

#[test]
fn reports_are_shown_from_the_daemon_and_from_files() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    let daemon = Daemon::start(&zc, "[account]\nscan = \"100ms\"");
    let socket = daemon.socket();
    let socket = socket.to_str().expect("UTF-8");
    let mut cat = Job::new(&["cat"]).with_input().start();
    daemon.trace(cat.pid());
    cat.input(b"text");
    cat.wait_for_output("text");
    let table = zc.job(&["report", "--socket", socket]).finish();
    assert!(
        table.code() == 0 && table.stdout_text().contains("read+write pipe → file"),
        "{}",
        table.stdout_text()
    );
    let file = zc.report_path("saved.json");
    let file = file.to_str().expect("UTF-8");
    let saved = zc.job(&["report", "--socket", socket, "--format", "json", "-o", file]).finish();
    assert_eq!(saved.code(), 0, "{}", saved.stderr);
    let report: Value = serde_json::from_str(&fs::read_to_string(file).expect("it")).expect("JSON");
    assert_eq!(bytes(&report["processes"][0], &["read+write"]), 4);
    let again = zc.job(&["report", file, "--format", "csv"]).finish();
    assert!(again.stdout_text().contains("read+write"), "{}", again.stdout_text());
    let none = zc.job(&["report", file, "-p", "1", "--format", "json"]).finish();
    assert!(none.stdout_text().contains("\"processes\": []"), "{}", none.stdout_text());
    cat.finish();
    daemon.stop();
    for words in [&["report", "--socket", socket][..], &["report", "/dev/null"], &["report", "/nonexistent"]]
    {
        let refused = zc.job(words).finish();
        assert!(refused.code() == 1 && refused.stderr.starts_with("zc: "), "{}", refused.stderr);
    }
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

/// What a process did is in the history while it runs, when it has ended, when the daemon was killed, and without a daemon.
#[test]
fn the_history_has_what_was_moved_whatever_happens_to_the_daemon() {
    let Some(zc) = Zc::with(&[]) else { return };
    let settings = "[account]\ninterval = \"300ms\"\nscan = \"100ms\"";
    let mut daemon = Daemon::start(&zc, settings);
    let mut relay = Relay::start(2, 1000);
    let (pid, moved) = (relay.pid(), 2 * 1000 * 4096);
    let past = |daemon: &Daemon| {
        let answer = daemon.get("/v1/report?since=1h");
        if answer.status == 404 { Value::Null } else { answer.json() }
    };
    let relayed = |report: &Value| {
        let processes = report["processes"].as_array().cloned().unwrap_or_default();
        processes
            .iter()
            .filter(|process| process["pid"] == pid)
            .map(|process| bytes(process, &["read+write"]))
            .sum::<u64>()
    };
    for turn in 1..=3 {
        daemon.trace(pid);
        relay.go_and_wait();
        wait_for("the interval to be kept", || (relayed(&past(&daemon)) == turn * moved).then_some(()));
        if turn < 3 {
            // From here on it is accounted for anew.
            daemon = Daemon::start_in(&zc, settings, daemon.kill());
        }
    }
    let report = past(&daemon);
    assert_eq!(
        (&report["schema"], report["history"]["covered_seconds"].as_f64() > Some(0.5)),
        (&"zc.report/1".into(), true)
    );
    let process =
        report["processes"].as_array().expect("processes").iter().find(|process| process["pid"] == pid);
    let row = &process.expect("the process")["paths"].as_array().expect("rows")[0];
    assert_eq!((&row["verdict"], &row["cpu_copied_bytes"]), (&"copied".into(), &(6 * moved).into()), "{row}");
    assert_eq!(daemon.get("/v1/health").json()["history"]["error"], Value::Null);
    assert_eq!(daemon.get("/v1/report?since=2h&until=1h").status, 404);
    assert_eq!(daemon.get("/v1/report?since=soon").status, 400);
    relay.finish();
    let socket = daemon.socket();
    let shown = zc
        .job(&["report", "--socket", socket.to_str().expect("UTF-8"), "--since", "1h", "--format", "json"])
        .finish();
    assert!(shown.stderr.contains(" s of history"), "{}", shown.stderr);
    let shown: Value = serde_json::from_str(&shown.stdout_text()).expect("JSON");
    assert_eq!(relayed(&shown), 3 * moved);
    // Without a daemon; a directory that is none; a time of which nothing is known.
    let dir = daemon.kill();
    let history = dir.path().join("history");
    let history = history.to_str().expect("UTF-8");
    let shown = zc.job(&["report", "--history", history, "--since", "1h", "--format", "json"]).finish();
    let shown: Value = serde_json::from_str(&shown.stdout_text()).expect("JSON");
    assert_eq!(relayed(&shown), 3 * moved);
    for words in [["--history", "/nonexistent", "--since", "1h"], ["--history", history, "--until", "1h"]] {
        let refused = zc.job(&[&["report"], &words[..]].concat()).finish();
        assert!(refused.code() == 1 && refused.stderr.starts_with("zc: "), "{}", refused.stderr);
    }
}

/// A directory that cannot be written is said, and everything else goes on; what waits is written when it can be.
#[test]
fn a_history_that_cannot_be_written_is_said_and_written_later() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let history = dir.path().join("history");
    fs::write(&history, "in the way").expect("a file");
    let mut daemon = Daemon::start_in(&zc, "[account]\ninterval = \"200ms\"\nscan = \"100ms\"", dir);
    let mut relay = Relay::start(1, 100);
    daemon.trace(relay.pid());
    relay.go_and_wait();
    let health = wait_for("the error", || {
        let health = daemon.get("/v1/health").json();
        (health["history"]["waiting"].as_u64() > Some(1)).then_some(health)
    });
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(health["problems"].to_string().contains("history"), "{health}");
    daemon.running().wait_for_error("history");
    let process = daemon.process(relay.pid()).expect("the process");
    assert_eq!(bytes(&process, &["read+write"]), 100 * 4096);
    fs::remove_file(&history).expect("out of the way");
    wait_for("what waits to be written", || {
        let health = daemon.get("/v1/health").json();
        (health["status"] == "ok" && health["history"]["waiting"] == 0).then_some(())
    });
    let report = daemon.get("/v1/report?since=1h").json();
    assert_eq!(bytes(&report["processes"][0], &["read+write"]), 100 * 4096, "{report}");
    relay.finish();
    daemon.stop();
}
