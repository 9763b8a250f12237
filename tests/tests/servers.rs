//! Servers under real clients: the bytes of their answers, by the path that they took.

use std::{
    fs,
    path::{Path, PathBuf},
};

use zc_tests::{
    expect::Kind,
    job::Job,
    machine::{free_port, python, random_file, temp_dir, wait_for, wait_for_port},
    report::Report,
    zc::{Serving, Traced, Zc},
};

const SIZE: usize = 3 * 1024 * 1024 + 12_347;
const SMALL: usize = 77;

/// An nginx of its own: prefix, configuration, port and logs.
struct Nginx {
    dir: tempfile::TempDir,
    port: u16,
}

impl Nginx {
    fn new(sendfile: &str) -> Self {
        let dir = temp_dir();
        let port = free_port();
        let www = dir.path().join("www");
        fs::create_dir(&www).expect("a directory");
        random_file(&www, "large.bin", SIZE);
        random_file(&www, "small.bin", SMALL);
        let config = format!(
            "user root; worker_processes 2; daemon off; pid nginx.pid; error_log error.log;\n\
             events {{ worker_connections 128; }}\n\
             http {{\n\
               log_format sent '$bytes_sent $body_bytes_sent $status'; access_log access.log sent;\n\
               sendfile {sendfile}; keepalive_requests 100000;\n\
               client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
               scgi_temp_path t5;\n\
               server {{ listen 127.0.0.1:{port}; root www; }}\n\
             }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config).expect("a configuration");
        Self { dir, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    fn start(&self, zc: &Zc) -> Serving {
        let prefix = format!("{}/", self.text(""));
        let log = self.text("error.log");
        let serving = zc.start(&["nginx", "-p", &prefix, "-e", &log, "-c", "nginx.conf"]);
        wait_for_port(self.port);
        serving
    }

    fn get(&self, name: &str, size: usize) {
        let output = self.path("got");
        let done =
            Job::new(&["curl", "-sS", "-f", "-o", output.to_str().expect("UTF-8"), &self.url(name)]).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert_eq!(fs::metadata(output).expect("the answer").len(), size as u64);
    }

    /// Ends the server as its operators do: answers are finished, logs are written.
    fn stop(&self, serving: Serving) -> Report {
        let pid =
            wait_for("nginx.pid", || fs::read_to_string(self.path("nginx.pid")).ok()?.trim().parse().ok());
        // SAFETY: the process that this test started.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGQUIT) }, 0, "SIGQUIT to nginx");
        let Traced { report, done, .. } = serving.collect();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        report.assert_nothing_lost();
        let master = u32::try_from(pid).expect("a process id");
        assert_eq!(report.children(master).len(), 2, "two workers are children of the traced master");
        report
    }

    /// Bytes sent, and bytes of bodies, as the server's own log has them.
    fn logged(&self) -> (u64, u64) {
        let log = fs::read_to_string(self.path("access.log")).expect("the access log");
        let number = |line: &str, field: usize| -> u64 {
            line.split(' ').nth(field).and_then(|field| field.parse().ok()).expect("a number in the log")
        };
        log.lines().fold((0, 0), |(sent, body), line| (sent + number(line, 0), body + number(line, 1)))
    }
}

fn sum(report: &Report, path: &str, source: Kind, destination: Kind) -> u64 {
    report.processes.iter().map(|process| process.bytes(path, source, destination)).sum()
}

fn flow(report: &Report, path: &str, source: &Path) -> u64 {
    report.flow_bytes(None, path, source.to_str(), None)
}

const LARGE_GETS: u64 = 7;
const SMALL_GETS: u64 = 13;

#[test]
fn nginx_with_sendfile_sends_bodies_by_sendfile_and_headers_by_write() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("on");
    let serving = nginx.start(&zc);
    (0..LARGE_GETS).for_each(|_| nginx.get("large.bin", SIZE));
    (0..SMALL_GETS).for_each(|_| nginx.get("small.bin", SMALL));
    let report = nginx.stop(serving);
    let bodies = LARGE_GETS * SIZE as u64 + SMALL_GETS * SMALL as u64;
    let (sent, logged_bodies) = nginx.logged();
    assert_eq!(logged_bodies, bodies, "nginx's own log");
    assert_eq!(sum(&report, "sendfile", Kind::File, Kind::Tcp), bodies);
    assert_eq!(sum(&report, "write", Kind::Memory, Kind::Tcp), sent - bodies, "headers");
    assert_eq!(sum(&report, "read+write", Kind::File, Kind::Tcp), 0);
    assert_eq!(flow(&report, "sendfile", &nginx.path("www/large.bin")), LARGE_GETS * SIZE as u64);
    assert_eq!(flow(&report, "sendfile", &nginx.path("www/small.bin")), SMALL_GETS * SMALL as u64);
    let own = format!("127.0.0.1:{}", nginx.port);
    for flow in report.flows.iter().filter(|flow| flow.path == "sendfile") {
        let to = &flow.destination;
        assert_eq!(to.local.as_deref(), Some(own.as_str()), "the server's end");
        assert!(to.name.as_ref().is_some_and(|peer| *peer != own), "the client's end: {:?}", to.name);
    }
    let log = report.flow_bytes(None, "write", None, Some(&nginx.text("access.log")));
    assert_eq!(log, fs::metadata(nginx.path("access.log")).expect("the log").len());
    // Whether the pages really went out by reference is not known yet, and must not be claimed.
    let rows =
        report.processes.iter().flat_map(|process| &process.paths).filter(|row| row.path == "sendfile");
    assert!(rows.clone().count() > 0);
    for row in rows {
        assert_eq!((row.verdict.as_str(), row.unknown_bytes), ("unknown", Some(row.bytes)));
    }
}

#[test]
fn nginx_without_sendfile_reads_and_writes_bodies() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("off");
    let serving = nginx.start(&zc);
    (0..LARGE_GETS).for_each(|_| nginx.get("large.bin", SIZE));
    (0..SMALL_GETS).for_each(|_| nginx.get("small.bin", SMALL));
    let report = nginx.stop(serving);
    let bodies = LARGE_GETS * SIZE as u64 + SMALL_GETS * SMALL as u64;
    let (sent, logged_bodies) = nginx.logged();
    assert_eq!(logged_bodies, bodies, "nginx's own log");
    assert_eq!(sum(&report, "read+write", Kind::File, Kind::Tcp), bodies);
    assert_eq!(
        sum(&report, "write", Kind::Memory, Kind::Tcp),
        sent - bodies,
        "headers, written with the bodies"
    );
    assert_eq!(sum(&report, "sendfile", Kind::File, Kind::Tcp), 0);
    assert_eq!(flow(&report, "read+write", &nginx.path("www/large.bin")), LARGE_GETS * SIZE as u64);
    assert_eq!(flow(&report, "read", &nginx.path("www/large.bin")), 0, "no byte of the file stays a leg");
}

/// wrk knows only durations; how much it got through is in nginx's log, to the byte.
#[test]
fn nginx_under_wrk_sends_what_its_log_says() {
    let Some(zc) = Zc::with(&["nginx", "wrk"]) else { return };
    let nginx = Nginx::new("on");
    let serving = nginx.start(&zc);
    let done = Job::new(&["wrk", "-c", "16", "-t", "2", "-d", "2s", &nginx.url("large.bin")]).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let report = nginx.stop(serving);
    let (sent, bodies) = nginx.logged();
    assert!(bodies >= SIZE as u64, "wrk got {bodies} bytes");
    let sendfile = sum(&report, "sendfile", Kind::File, Kind::Tcp);
    assert_eq!(
        sendfile,
        flow(&report, "sendfile", &nginx.path("www/large.bin")),
        "one file is all that was sent"
    );
    assert_eq!(sendfile + sum(&report, "write", Kind::Memory, Kind::Tcp), sent);
}

#[test]
fn pythons_web_server_reads_the_file() {
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
    // It answers by sendto, which is not traced: the file's bytes stay legs.
    assert_eq!(report.flow_bytes(None, "read", Some(&file), None), 5 * SIZE as u64);
    assert!(sum(&report, "read", Kind::File, Kind::Memory) >= 5 * SIZE as u64);
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
    assert_eq!(sum(&report, "sendfile", Kind::File, Kind::Tcp), SIZE as u64);
    let peer = format!("127.0.0.1:{port}");
    assert_eq!(report.flow_bytes(None, "sendfile", Some(&file), Some(&peer)), SIZE as u64);
}
