//! Programs whose verdicts people guess at: Python's and nginx's sendfile to somebody who is not traced, and TLS in user space.

use std::{
    io::Read as _,
    net::{Ipv4Addr, TcpListener},
    thread,
};

use zc_tests::{
    expect::Kind,
    machine::{python, random_file, temp_dir},
    nginx::{Nginx, SIZE, SMALL},
    report::{Report, Row},
    zc::Zc,
};

/// All rows of calls that sent to TCP along this path.
fn rows<'a>(report: &'a Report, path: &'a str) -> impl Iterator<Item = &'a Row> {
    let rows = report.processes.iter().flat_map(|process| &process.paths);
    rows.filter(move |row| row.path == path && row.destination == Kind::Tcp && row.bytes > 0)
}

/// Nobody copied what a sendfile sent, or nobody says so.
fn nothing_is_said_to_be_copied(row: &Row) {
    assert!(["zero-copy", "unknown"].contains(&&*row.verdict), "{row:?}");
    assert_eq!(row.cpu_copied_bytes.unwrap_or(0), 0, "{row:?}");
    let known = row.by_reference_bytes.unwrap_or(0) + row.unknown_bytes.unwrap_or(0);
    assert_eq!(known, row.bytes, "each byte once: {row:?}");
}

fn is_copied(row: &Row) {
    assert_eq!((row.verdict.as_str(), row.cpu_copied_bytes), ("copied", Some(row.bytes)), "{row:?}");
}

#[test]
fn a_file_to_a_receiver_that_is_not_traced_is_judged_as_to_any() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    let dir = temp_dir();
    let file = random_file(dir.path(), "sent.bin", SIZE);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let script = "
import socket, sys
with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as near, open(sys.argv[1], 'rb') as source:
    near.send(b'x' * 77)
    near.sendfile(source)
    near.shutdown(socket.SHUT_WR)
    near.recv(1)
";
    let report = thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut far, _) = listener.accept().expect("the sender");
            let mut got = Vec::new();
            far.read_to_end(&mut got).expect("a file");
            got
        });
        let report = zc.trace(&[python(), "-c", script, &file, &port]);
        let got = receiver.join().expect("the receiver");
        assert!(got[..77] == [b'x'; 77] && got[77..] == std::fs::read(&file).expect("the file"), "what came");
        report
    });
    report.assert_nothing_lost();
    let sent: Vec<&Row> = rows(&report, "sendfile").collect();
    assert_eq!(sent.iter().map(|row| row.bytes).sum::<u64>(), SIZE as u64);
    sent.into_iter().for_each(nothing_is_said_to_be_copied);
    let headers: Vec<&Row> = rows(&report, "write").collect();
    assert_eq!(headers.iter().map(|row| row.bytes).sum::<u64>(), 77);
    headers.into_iter().for_each(is_copied);
}

#[test]
fn headers_of_nginx_are_copied_and_its_files_are_not() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile on; tcp_nopush on;");
    let serving = nginx.start(&zc);
    for _ in 0..3 {
        nginx.get("large.bin", SIZE);
        nginx.get("small.bin", SMALL);
    }
    let report = nginx.stop(serving);
    assert_eq!(rows(&report, "sendfile").map(|row| row.bytes).sum::<u64>(), 3 * (SIZE + SMALL) as u64);
    rows(&report, "sendfile").for_each(nothing_is_said_to_be_copied);
    assert!(rows(&report, "write").count() > 0, "headers");
    rows(&report, "write").for_each(is_copied);
}

#[test]
fn nginx_with_tls_in_user_space_copies_all_that_it_sends() {
    let Some(zc) = Zc::with(&["nginx", "curl", "openssl"]) else { return };
    let nginx = Nginx::with_tls("sendfile on;");
    let serving = nginx.start(&zc);
    (0..3).for_each(|_| nginx.get("large.bin", SIZE));
    let report = nginx.stop(serving);
    assert_eq!(rows(&report, "sendfile").count(), 0);
    assert!(rows(&report, "write").map(|row| row.bytes).sum::<u64>() > 3 * SIZE as u64, "what it encrypted");
    rows(&report, "write").for_each(is_copied);
    let rows = report.processes.iter().flat_map(|process| &process.paths);
    let to_network = rows.filter(|row| row.destination == Kind::Tcp && row.verdict == "zero-copy");
    assert_eq!(to_network.count(), 0, "nothing that was encrypted left by reference");
}
