//! `zc daemon`: what it says while processes go on, after they have ended, and of what was before.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::Value;
use zc_tests::{
    daemon::{Daemon, bytes, counted, sum},
    job::Job,
    machine::{self, wait_for},
    relay::{Relay, wait_until_it_reads},
    zc::Zc,
};

const READ: [&str; 3] = ["read", "read+write", "sendfile"];
const WRITTEN: [&str; 3] = ["write", "read+write", "sendfile"];

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
    daemon.assert_nothing_lost();
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
    daemon.assert_nothing_lost();
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
