//! Files to sockets and back by the means of Rust's and Python's own libraries: by which calls, and with how many bytes.
//!
//! The witnesses: the other side of the connection, which is in this program, and strace, which names the calls of
//! another run. Which calls these are is the library's choice, and may change with its version.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpStream},
};

use zc_tests::{
    expect::Kind,
    fixtures::content,
    job::Running,
    machine::{python, random_file, require_python, temp_dir},
    report::Report,
    witness::{READS, RECEIVES, SENDS, Strace, WRITES},
    zc::{Traced, Zc},
};

/// Not a multiple of any buffer or page.
const SIZE: usize = 3 * 1024 * 1024 + 12_347;
const BYTES: u64 = SIZE as u64;

/// Connects to a program that has said `port N.`
fn connect(running: &mut Running) -> TcpStream {
    running.wait_for_output(".\n");
    let said = String::from_utf8_lossy(&running.stdout_so_far()).into_owned();
    let port = said.split_once("port ").and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    TcpStream::connect((Ipv4Addr::LOCALHOST, port.expect("a port"))).expect("connecting")
}

/// Takes all that is sent, which must be these bytes; returns its own address.
fn take(running: &mut Running, bytes: &[u8]) -> String {
    let mut connection = connect(running);
    let mut got = Vec::new();
    connection.read_to_end(&mut got).expect("receiving");
    assert!(got == bytes, "{} of {} bytes", got.len(), bytes.len());
    connection.local_addr().expect("an address").to_string()
}

/// Sends these bytes; returns its own address.
fn give(running: &mut Running, bytes: &[u8]) -> String {
    let mut connection = connect(running);
    connection.write_all(bytes).expect("sending");
    connection.shutdown(Shutdown::Write).expect("the end");
    // Until the other side has read it all and gone.
    assert_eq!(connection.read(&mut [0]).expect("the end"), 0);
    connection.local_addr().expect("an address").to_string()
}

/// Runs the command under strace and under `zc`, each time with the same other side; gives the address of that under `zc`.
fn traced(
    zc: &Zc,
    command: &[&str],
    other_side: impl Fn(&mut Running) -> String,
) -> (Strace, Report, String) {
    let trace = Strace::named_data_calls_with(command, |running| drop(other_side(running)));
    let mut serving = zc.start(command);
    let peer = other_side(&mut serving.running);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    report.assert_nothing_lost();
    (trace, report, peer)
}

/// The program copies between a file and a connection: from one to the other by calls of its own choice.
fn copied(trace: &Strace, report: &Report, file: &str, (source, destination): (&str, &str)) {
    let flow = |path| report.flow(path, Some(source), Some(destination));
    let at_file = |names: &[&str]| trace.on(file, names);
    let known: Vec<(u64, u64)> = ["sendfile", "splice"].iter().map(|name| at_file(&[name])).collect();
    assert_eq!((flow("sendfile").1, flow("splice").1), (known[0].1, known[1].1), "calls that know both ends");
    let through_memory = at_file(&READS).1 + at_file(&WRITES).1;
    assert_eq!(flow("read+write").1, through_memory, "bytes through memory, says strace");
    let all: u64 = ["sendfile", "splice", "read+write"].map(|path| flow(path).1).iter().sum();
    assert_eq!(all, BYTES, "each byte once");
    let legs = report.flow_bytes(None, "read", Some(source), None)
        + report.flow_bytes(None, "write", None, Some(destination));
    assert_eq!(legs, 0, "no byte of it stays a leg");
}

#[test]
fn rust_sends_a_file_to_a_connection() {
    let Some(zc) = Zc::with(&["strace"]) else { return };
    let dir = temp_dir();
    let file = random_file(dir.path(), "in.bin", SIZE);
    let content = content(SIZE);
    let command = [env!("CARGO_BIN_EXE_zc-copier"), "send", &file];
    let (trace, report, peer) = traced(&zc, &command, |running| take(running, &content));
    copied(&trace, &report, &file, (&file, &peer));
    let sent = trace.sum(&SENDS, |_| true);
    let copier = report.named("zc-copier");
    // Reads of the file, of which the last finds its end, and as many sends: the sizes are the library's.
    if let Some(row) = copier.row("read+write", Kind::File, Kind::Tcp) {
        let reads = trace.on(&file, &READS).0;
        assert_eq!((row.bytes, row.transfers, row.syscalls), (sent.1, sent.0, sent.0 + reads - 1));
        assert_eq!((row.cpu_copied_bytes, row.verdict.as_str()), (Some(2 * BYTES), "copied"));
        assert_eq!((row.rchar_bytes, row.wchar_bytes), (BYTES, 0));
    }
}

#[test]
fn rust_stores_in_a_file_what_it_receives() {
    let Some(zc) = Zc::with(&["strace"]) else { return };
    let dir = temp_dir();
    let file = dir.path().join("out.bin").to_str().expect("UTF-8").to_owned();
    let content = content(SIZE);
    let command = [env!("CARGO_BIN_EXE_zc-copier"), "receive", &file];
    let (trace, report, peer) = traced(&zc, &command, |running| give(running, &content));
    assert!(fs::read(&file).expect("the copy") == content);
    copied(&trace, &report, &file, (&peer, &file));
    let received = trace.sum(&RECEIVES, |_| true).1 + trace.sum(&["splice"], |_| true).1 / 2;
    assert_eq!(received, BYTES, "received, says strace");
    let copier = report.named("zc-copier");
    if let Some(row) = copier.row("read+write", Kind::Tcp, Kind::File) {
        assert_eq!((row.bytes, row.cpu_copied_bytes), (BYTES, Some(2 * BYTES)));
        assert_eq!((row.rchar_bytes, row.wchar_bytes), (0, BYTES));
    }
}

/// Python 3.10 and newer have `os.splice`.
#[test]
fn pythons_splice_hands_a_file_on_to_a_connection() {
    let Some(zc) = Zc::with(&["python3", "strace"]) else { return };
    if !require_python("import os; os.splice") {
        return;
    }
    let script = "
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
print(f'port {listener.getsockname()[1]}.', flush=True)
peer, _ = listener.accept()
out, into = os.pipe()
with open(sys.argv[1], 'rb') as source:
    while got := os.splice(source.fileno(), into, 50021):
        while got:
            got -= os.splice(out, peer.fileno(), min(got, 30011))
peer.close()
";
    let dir = temp_dir();
    let file = random_file(dir.path(), "in.bin", SIZE);
    let content = content(SIZE);
    let command = [python(), "-c", script, &file];
    let (trace, report, peer) = traced(&zc, &command, |running| take(running, &content));
    assert_eq!(trace.sum(&["splice"], |_| true).1, 2 * BYTES, "into the pipe and out of it, says strace");
    let [process] = &report.processes[..] else { panic!("{} processes", report.processes.len()) };
    let row = process.row("splice", Kind::File, Kind::Tcp).expect("a splice");
    // The pipe holds fewer slots than a call asks for when pages are not aligned, so calls differ.
    assert_eq!((row.bytes, row.rchar_bytes, row.wchar_bytes), (BYTES, 0, 0));
    assert_eq!(report.flow_bytes(None, "splice", Some(&file), Some(&peer)), BYTES);
    let splices: u64 = process.paths.iter().filter(|row| row.path == "splice").map(|row| row.bytes).sum();
    assert_eq!(splices, BYTES, "no legs");
    let end = process.row("splice", Kind::File, Kind::Pipe).expect("the end of the file");
    assert_eq!((end.bytes, end.syscalls), (0, 1));
}
