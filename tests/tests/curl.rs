//! curl and the server it talks to, each traced in its turn: what is fetched and what is sent, byte for byte.
//!
//! The witnesses: nginx's log, the files themselves, and for nginx's workers what the kernel counted.

use std::{fs, path::Path};

use zc_tests::{
    expect::Kind,
    job::Job,
    machine::{random_file, temp_dir, wait_for},
    nginx::{Logged, Nginx, SIZE, SMALL},
    report::{Process, Report, Row},
    zc::Zc,
};

const BYTES: u64 = SIZE as u64;

/// A server that takes uploads, too.
fn server() -> Nginx {
    Nginx::new(
        "sendfile on; client_max_body_size 0; location /up/ { dav_methods PUT; create_full_put_path on; }",
    )
}

/// All that the process received from TCP sockets, and all that it sent to some.
fn received_and_sent(process: &Process) -> (u64, u64) {
    let sum = |is: &dyn Fn(&Row) -> bool| -> u64 {
        process.paths.iter().filter(|row| is(row)).map(|row| row.bytes).sum()
    };
    (sum(&|row| row.source == Kind::Tcp), sum(&|row| row.destination == Kind::Tcp))
}

/// Traces curl with these words against a server that is not traced, until that has logged so many requests.
fn traced(zc: &Zc, nginx: &Nginx, requests: usize, words: &[&str]) -> (Report, Logged) {
    let serving = nginx.start_plain();
    let report = zc.trace(&[&["curl", "-q", "-sS", "-f"], words].concat());
    // A request is logged when its answer was sent, maybe after curl has ended.
    wait_for("the server's log", || {
        let log = fs::read_to_string(nginx.path("access.log")).ok()?;
        (log.lines().count() == requests).then_some(())
    });
    drop(serving);
    report.assert_nothing_lost();
    let logged = nginx.logged();
    let (received, sent) = received_and_sent(report.named("curl"));
    assert_eq!((received, sent), (logged.sent, logged.requests), "what {words:?} received and sent");
    (report, logged)
}

fn same(one: &Path, other: &Path) -> bool {
    fs::read(one).expect("a file") == fs::read(other).expect("a file")
}

/// Large parts of what was received go to the file from where they are, the rest through a buffer of stdio's.
fn fetched(report: &Report, output: &str, size: u64) -> u64 {
    let relayed: u64 = report
        .flows
        .iter()
        .filter(|flow| flow.path == "read+write" && flow.destination.name.as_deref() == Some(output))
        .filter(|flow| flow.source.kind == Kind::Tcp)
        .map(|flow| flow.bytes)
        .sum();
    let all = report.flow_bytes(None, "read+write", None, Some(output));
    let written = report.flow_bytes(None, "write", None, Some(output));
    assert_eq!(all + written, size, "every byte of {output} was written once");
    // That buffer may be where curl has read a file of its settings before: see docs/limitations.md.
    assert!(all - relayed < 4096, "{} bytes of other files", all - relayed);
    relayed
}

#[test]
fn curl_receives_what_the_server_sent_and_writes_each_byte_once() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = server();
    let output = nginx.text("got");
    let (report, logged) = traced(&zc, &nginx, 1, &["-o", &output, &nginx.url("large.bin")]);
    assert!(same(output.as_ref(), &nginx.path("www/large.bin")));
    assert_eq!(logged.bodies, BYTES, "nginx's own log");
    let relayed = fetched(&report, &output, BYTES);
    assert!(relayed > BYTES / 2, "only {relayed} bytes from the socket's buffer");
    let curl = report.named("curl");
    let row = curl.row("read+write", Kind::Tcp, Kind::File).expect("a relay");
    assert_eq!((row.bytes, row.cpu_copied_bytes), (relayed, Some(2 * relayed)));
    assert_eq!((row.verdict.as_str(), row.rchar_bytes, row.wchar_bytes), ("copied", 0, relayed));
    // Headers, and what went through stdio's buffer.
    assert_eq!(curl.bytes("read", Kind::Tcp, Kind::Memory), logged.sent - relayed);
}

#[test]
fn curl_fetches_many_files_at_once_and_mixes_nothing_up() {
    const FILES: usize = 7;
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = server();
    let (large, small) = (nginx.url("large.bin"), nginx.url("small.bin"));
    let outputs: Vec<String> = (0..FILES).map(|i| nginx.text(&format!("got-{i}"))).collect();
    let mut words = vec!["--parallel"];
    for (i, output) in outputs.iter().enumerate() {
        words.extend(["-o", output, if i % 2 == 0 { &large } else { &small }]);
    }
    let (report, logged) = traced(&zc, &nginx, FILES, &words);
    assert_eq!(logged.bodies, 4 * BYTES + 3 * SMALL as u64, "nginx's own log");
    for (i, output) in outputs.iter().enumerate() {
        let (name, size) =
            if i % 2 == 0 { ("www/large.bin", BYTES) } else { ("www/small.bin", SMALL as u64) };
        assert!(same(output.as_ref(), &nginx.path(name)), "{output}");
        fetched(&report, output, size);
    }
}

/// What curl reads it sends from where it is; headers come from memory.
#[test]
fn curl_uploads_a_file_from_one_buffer() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let (nginx, dir) = (server(), temp_dir());
    let input = random_file(dir.path(), "in.bin", SIZE);
    let (report, logged) = traced(&zc, &nginx, 1, &["-T", &input, &nginx.url("up/put.bin")]);
    assert!(same(input.as_ref(), &nginx.path("www/up/put.bin")));
    assert_eq!(report.flow_bytes(None, "read+write", Some(&input), None), BYTES);
    assert_eq!(report.flow_bytes(None, "read", Some(&input), None), 0, "no byte of the file stays a leg");
    let curl = report.named("curl");
    let row = curl.row("read+write", Kind::File, Kind::Tcp).expect("a relay");
    assert_eq!((row.bytes, row.cpu_copied_bytes), (BYTES, Some(2 * BYTES)));
    assert_eq!((row.verdict.as_str(), row.rchar_bytes, row.wchar_bytes), ("copied", BYTES, 0));
    assert_eq!(curl.bytes("write", Kind::Memory, Kind::Tcp), logged.requests - BYTES, "headers");
    assert_eq!(curl.bytes("read", Kind::Tcp, Kind::Memory), logged.sent, "answers");
}

/// nginx writes what it receives to a file, from the buffers that it received it into.
#[test]
fn nginx_stores_what_curl_uploads() {
    const PUTS: u64 = 3;
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let (nginx, dir) = (server(), temp_dir());
    let input = random_file(dir.path(), "in.bin", SIZE);
    let serving = nginx.start(&zc);
    for i in 0..PUTS {
        let url = nginx.url(&format!("up/{i}.bin"));
        let done = Job::new(&["curl", "-q", "-sS", "-f", "-T", &input, &url]).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    let report = nginx.stop(serving);
    for i in 0..PUTS {
        assert!(same(input.as_ref(), &nginx.path(&format!("www/up/{i}.bin"))));
    }
    let logged = nginx.logged();
    assert_eq!(report.bytes("read+write", Kind::Tcp, Kind::File), PUTS * BYTES);
    let headers = logged.requests - PUTS * BYTES;
    assert_eq!(report.bytes("read", Kind::Tcp, Kind::Memory), headers, "headers of requests");
    // One of the answers is a constant in the program, which is a file that is mapped.
    let constants = PUTS * "HTTP/1.1 100 Continue\r\n\r\n".len() as u64;
    assert_eq!(report.bytes("mmap+write", Kind::File, Kind::Tcp), constants);
    assert_eq!(report.bytes("write", Kind::Memory, Kind::Tcp), logged.sent - constants, "answers");
}
