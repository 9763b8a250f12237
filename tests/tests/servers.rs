//! Servers under real clients: the bytes of their answers, by the path that they took.

use std::{fs, path::Path};

use zc_tests::{
    expect::Kind,
    job::Job,
    machine::{free_port, python, random_file, temp_dir, wait_for_port},
    nginx::{Logged, Nginx, SIZE, SMALL},
    report::Report,
    zc::{Traced, Zc},
};

fn flow(report: &Report, path: &str, source: &Path) -> u64 {
    report.flow_bytes(None, path, source.to_str(), None)
}

const LARGE_GETS: u64 = 7;
const SMALL_GETS: u64 = 13;

#[test]
fn nginx_with_sendfile_sends_bodies_by_sendfile_and_headers_by_write() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile on;");
    let serving = nginx.start(&zc);
    (0..LARGE_GETS).for_each(|_| nginx.get("large.bin", SIZE));
    (0..SMALL_GETS).for_each(|_| nginx.get("small.bin", SMALL));
    let report = nginx.stop(serving);
    let bodies = LARGE_GETS * SIZE as u64 + SMALL_GETS * SMALL as u64;
    let Logged { sent, bodies: logged_bodies, .. } = nginx.logged();
    assert_eq!(logged_bodies, bodies, "nginx's own log");
    assert_eq!(report.bytes("sendfile", Kind::File, Kind::Tcp), bodies);
    assert_eq!(report.bytes("write", Kind::Memory, Kind::Tcp), sent - bodies, "headers");
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), 0);
    assert_eq!(flow(&report, "sendfile", &nginx.path("www/large.bin")), LARGE_GETS * SIZE as u64);
    assert_eq!(flow(&report, "sendfile", &nginx.path("www/small.bin")), SMALL_GETS * SMALL as u64);
    let own = format!("127.0.0.1:{}", nginx.port());
    for flow in report.flows.iter().filter(|flow| flow.path == "sendfile") {
        let to = &flow.destination;
        assert_eq!(to.local.as_deref(), Some(own.as_str()), "the server's end");
        assert!(to.name.as_ref().is_some_and(|peer| *peer != own), "the client's end: {:?}", to.name);
    }
    let log = report.flow_bytes(None, "write", None, Some(&nginx.text("access.log")));
    assert_eq!(log, fs::metadata(nginx.path("access.log")).expect("the log").len());
    // Every page of a body was seen to leave by reference, whatever the headers beside it were.
    let rows =
        report.processes.iter().flat_map(|process| &process.paths).filter(|row| row.path == "sendfile");
    assert!(rows.clone().count() > 0);
    for row in rows {
        assert_eq!((row.verdict.as_str(), row.evidence.as_str()), ("zero-copy", "witnessed"));
        assert_eq!((row.by_reference_bytes, row.cpu_copied_bytes), (Some(row.bytes), Some(0)));
    }
}

#[test]
fn nginx_without_sendfile_reads_and_writes_bodies() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile off;");
    let serving = nginx.start(&zc);
    (0..LARGE_GETS).for_each(|_| nginx.get("large.bin", SIZE));
    (0..SMALL_GETS).for_each(|_| nginx.get("small.bin", SMALL));
    let report = nginx.stop(serving);
    let bodies = LARGE_GETS * SIZE as u64 + SMALL_GETS * SMALL as u64;
    let Logged { sent, bodies: logged_bodies, .. } = nginx.logged();
    assert_eq!(logged_bodies, bodies, "nginx's own log");
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), bodies);
    assert_eq!(
        report.bytes("write", Kind::Memory, Kind::Tcp),
        sent - bodies,
        "headers, written with the bodies"
    );
    assert_eq!(report.bytes("sendfile", Kind::File, Kind::Tcp), 0);
    assert_eq!(flow(&report, "read+write", &nginx.path("www/large.bin")), LARGE_GETS * SIZE as u64);
    assert_eq!(flow(&report, "read", &nginx.path("www/large.bin")), 0, "no byte of the file stays a leg");
}

/// wrk knows only durations; how much it got through is in nginx's log, to the byte.
#[test]
fn nginx_under_wrk_sends_what_its_log_says() {
    let Some(zc) = Zc::with(&["nginx", "wrk"]) else { return };
    let nginx = Nginx::new("sendfile on;");
    let serving = nginx.start(&zc);
    let done = Job::new(&["wrk", "-c", "16", "-t", "2", "-d", "2s", &nginx.url("large.bin")]).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let report = nginx.stop(serving);
    let Logged { sent, bodies, .. } = nginx.logged();
    assert!(bodies >= SIZE as u64, "wrk got {bodies} bytes");
    let sendfile = report.bytes("sendfile", Kind::File, Kind::Tcp);
    assert_eq!(
        sendfile,
        flow(&report, "sendfile", &nginx.path("www/large.bin")),
        "one file is all that was sent"
    );
    // A header may lie where a request of a connection that is gone was received: then it pairs with that, by its address.
    let headers =
        report.bytes("write", Kind::Memory, Kind::Tcp) + report.bytes("read+write", Kind::Tcp, Kind::Tcp);
    assert_eq!(sendfile + headers, sent);
}

#[test]
fn pythons_web_server_relays_the_file() {
    let Some(zc) = Zc::with(&["python3", "curl"]) else { return };
    let dir = temp_dir();
    let file = random_file(dir.path(), "page.bin", SIZE);
    let (port, output) = (free_port(), dir.path().join("got"));
    let port_text = port.to_string();
    let directory = dir.path().to_str().expect("UTF-8");
    let words = [python(), "-m", "http.server", &port_text, "--bind", "127.0.0.1", "--directory", directory];
    let serving = zc.start(&words);
    wait_for_port(port);
    for _ in 0..5 {
        let url = format!("http://127.0.0.1:{port}/page.bin");
        let done = Job::new(&["curl", "-sS", "-f", "-o", output.to_str().expect("UTF-8"), &url]).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    serving.running.signal(libc::SIGTERM);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 128 + libc::SIGTERM, "{}", done.stderr);
    // It reads pieces of the file and answers by sendto from where they are.
    assert_eq!(report.flow_bytes(None, "read+write", Some(&file), None), 5 * SIZE as u64);
    assert_eq!(report.flow_bytes(None, "read", Some(&file), None), 0);
    assert_eq!(report.bytes("read+write", Kind::File, Kind::Tcp), 5 * SIZE as u64);
}

#[test]
fn pythons_socket_sendfile_is_sendfile() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    let dir = temp_dir();
    let file = random_file(dir.path(), "sent.bin", SIZE);
    let script = "
import socket, sys, threading
listener = socket.create_server(('127.0.0.1', 0))
def receive():
    connection, _ = listener.accept()
    while connection.recv(1 << 16):
        pass
thread = threading.Thread(target=receive)
thread.start()
near = socket.create_connection(listener.getsockname())
with open(sys.argv[1], 'rb') as source:
    sent = near.sendfile(source)
near.close()
thread.join()
print(sent, listener.getsockname()[1])
";
    let Traced { report, done, .. } = zc.run_json(&[], &[python(), "-c", script, &file]);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let (sent, port) = said.trim().split_once(' ').expect("what python sent, and where");
    assert_eq!(sent, SIZE.to_string());
    assert_eq!(report.bytes("sendfile", Kind::File, Kind::Tcp), SIZE as u64);
    let peer = format!("127.0.0.1:{port}");
    assert_eq!(report.flow_bytes(None, "sendfile", Some(&file), Some(&peer)), SIZE as u64);
}
