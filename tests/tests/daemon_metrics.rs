//! What a Prometheus reads from a daemon while programs run, against what these have moved.

use std::{fs, net::SocketAddr};

use zc_tests::{
    daemon::{Daemon, counted},
    job::Job,
    machine::{self, python, wait_for},
    prometheus::{Prometheus, Target, assert_clean, get},
    zc::Zc,
};

/// Sends a file over a connection to itself by sendfile, and then by read and write, each time that it is told to.
const SENDER: &str = r#"
import os, socket, sys, threading
path = sys.argv[1]
size = os.path.getsize(path)
server = socket.create_server(("127.0.0.1", 0))
out = socket.create_connection(server.getsockname())
into, _ = server.accept()
def take():
    while into.recv(1 << 16): pass
threading.Thread(target=take, daemon=True).start()
os.write(1, b"ready\n")
while os.read(0, 1):
    file = os.open(path, os.O_RDONLY)
    sent = 0
    while sent < size:
        sent += os.sendfile(out.fileno(), file, sent, size - sent)
    at = 0
    while at < size:
        block = os.pread(file, 1 << 16, at)
        out.sendall(block)
        at += len(block)
    os.close(file)
    os.write(1, b"done\n")
"#;

const LEN: usize = 1 << 20;
const TURNS: usize = 5;

#[test]
fn prometheus_counts_what_programs_move_and_the_rules_work_on_a_real_daemon() {
    let Some(zc) = Zc::with(&["prometheus", "promtool"]) else { return };
    let dir = machine::temp_dir();
    let port = machine::free_port();
    let socket = dir.path().join("zc.sock");
    let config = dir.path().join("zc.toml");
    let settings = format!(
        "[history]\nenabled = false\n[account]\ninterval = \"200ms\"\nscan = \"100ms\"\n[metrics]\nservices = \"comm\"\n\
         [api]\nsocket = {socket:?}\nlisten = \"127.0.0.1:{port}\"\n"
    );
    fs::write(&config, settings).expect("a configuration");
    let mut running = zc.job(&["daemon", "--config", config.to_str().expect("UTF-8")]).start();
    running.wait_for_error(" ready ");
    let daemon = Daemon::of(running, dir);

    let work = machine::temp_dir();
    let file = machine::random_file(work.path(), "in.bin", LEN);
    let mut sender = Job::new(&[python(), "-c", SENDER, &file]).with_input().start();
    sender.wait_for_output("ready\n");
    daemon.trace(sender.pid());
    let before = counted(sender.pid()).expect("its counters");

    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let prometheus = Prometheus::start(&[Target { instance: "host", address }]);
    prometheus.wait_for("zc_looks_total > 1", "the first scrapes");
    for turn in 1..=TURNS {
        sender.input(b"\n");
        wait_for("the sender", || {
            let said = sender.stdout_so_far();
            (String::from_utf8_lossy(&said).matches("done").count() == turn).then_some(())
        });
    }
    let after = counted(sender.pid()).expect("its counters");
    let (read, written) = (after.0 - before.0, after.1 - before.1);
    // What the kernel counts has neither recv nor send.
    let moved = (TURNS * LEN) as u64;
    assert!(read >= 2 * moved && written >= moved, "{read} {written}");

    let is = |expression: &str, value: u64| {
        prometheus.wait_for(&format!("sum({expression}) == {value}"), expression);
    };
    is(r#"zc_transfer_bytes_total{path="sendfile",source="file",destination="tcp"}"#, moved);
    is(r#"zc_transfer_bytes_total{path="read+write",source="file",destination="tcp"}"#, moved);
    is(r#"zc_service_transfer_bytes_total{service="python3",path="sendfile"}"#, moved);
    // Loopback hands on the pages of a file; what was written was copied twice.
    is(r#"zc_transfer_by_reference_bytes_total{path="sendfile"}"#, moved);
    let report = daemon.get("/v1/report?max_age=0ms").json();
    let copied: u64 = report["processes"]
        .as_array()
        .expect("processes")
        .iter()
        .flat_map(|process| process["paths"].as_array().expect("rows"))
        .map(|row| row["cpu_copied_bytes"].as_u64().unwrap_or(0))
        .sum();
    is("zc_copied_bytes_total", copied);
    is("zc_events_lost_total", 0);
    is("zc_processes", 1);
    prometheus.assert_rules_work();
    for accept in ["*/*", "application/openmetrics-text; version=1.0.0"] {
        let answer = get(address, "/metrics", accept).expect("an answer");
        if accept == "*/*" {
            assert_clean(&answer.body);
        } else {
            assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
        }
    }
    sender.finish();
    wait_for("the end of the process to be seen", || {
        let text = get(address, "/metrics", "*/*").expect("an answer").body;
        text.contains("\nzc_processes_ended_total 1\n").then_some(())
    });
    // What has ended is counted for good.
    is(r#"zc_transfer_bytes_total{path="sendfile",source="file",destination="tcp"}"#, moved);
    daemon.stop();
}
