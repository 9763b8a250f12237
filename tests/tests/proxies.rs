//! Proxies between a client and a server: what they receive is what they send, and along which path.
//!
//! The witnesses: the logs of both servers, curl's count, and for each worker what the kernel counted.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

use zc_tests::{
    expect::Kind,
    nginx::{Nginx, SIZE, SMALL},
    report::Report,
    zc::Zc,
};

const LARGE_GETS: u64 = 3;
const SMALL_GETS: u64 = 5;
const BODIES: u64 = LARGE_GETS * SIZE as u64 + SMALL_GETS * SMALL as u64;

/// All that came from TCP sockets, and all that went to some.
fn received_and_sent(report: &Report) -> (u64, u64) {
    let rows = || report.processes.iter().flat_map(|process| &process.paths);
    let received = rows().filter(|row| row.source == Kind::Tcp).map(|row| row.bytes).sum();
    let sent = rows().filter(|row| row.destination == Kind::Tcp).map(|row| row.bytes).sum();
    (received, sent)
}

/// Traces a proxy with these directives before a server that is not traced, while a client works.
fn proxied(zc: &Zc, how: &str, directives: &str, client: impl FnOnce(&Nginx)) -> Report {
    let origin = Nginx::new("sendfile on;");
    let serving = origin.start_plain();
    let pass = format!("location / {{ proxy_pass http://127.0.0.1:{}; {directives} }}", origin.port());
    let proxy = Nginx::listening(how, &pass);
    let traced = proxy.start(zc);
    client(&proxy);
    let report = proxy.stop(traced);
    drop(serving);
    let (before, behind) = (proxy.logged(), origin.logged());
    assert_eq!(before.received_from_behind, behind.sent, "the two logs");
    let (received, sent) = received_and_sent(&report);
    assert_eq!(received, before.requests + before.received_from_behind, "received with {directives}");
    let stored = report.bytes("sendfile", Kind::File, Kind::Tcp);
    assert_eq!(sent, before.sent + behind.requests, "sent with {directives}, {stored} from a file");
    assert_eq!(before.bodies, behind.bodies, "bodies");
    report
}

fn gets(proxy: &Nginx) {
    (0..LARGE_GETS).for_each(|_| proxy.get("large.bin", SIZE));
    (0..SMALL_GETS).for_each(|_| proxy.get("small.bin", SMALL));
}

#[test]
fn a_proxy_relays_bodies_and_makes_headers() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    // Without files for what a slow client has not taken yet.
    for directives in ["proxy_buffering off;", "proxy_buffering on; proxy_max_temp_file_size 0;"] {
        let report = proxied(&zc, "", directives, gets);
        let relayed = report.bytes("read+write", Kind::Tcp, Kind::Tcp);
        // Eight buffers of 4 KiB and the rest of a header may lie in one granule, of which eight pieces are remembered.
        let forgotten = report.lost("pairs_evicted") * 4096;
        assert!((BODIES - forgotten..=BODIES).contains(&relayed), "{relayed} of {BODIES} with {directives}");
        let rows = report.processes.iter().filter_map(|p| p.row("read+write", Kind::Tcp, Kind::Tcp));
        for row in rows {
            assert_eq!((row.cpu_copied_bytes, row.verdict.as_str()), (Some(2 * row.bytes), "copied"));
        }
    }
}

#[test]
fn a_proxy_stores_in_a_file_what_a_slow_client_has_not_taken() {
    let Some(zc) = Zc::with(&["nginx"]) else { return };
    let directives = "proxy_buffers 4 4k; proxy_buffer_size 4k; proxy_busy_buffers_size 8k; sendfile on;";
    let report = proxied(&zc, " sndbuf=32k", directives, |proxy| {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("the proxy");
        connection.write_all(b"GET /large.bin HTTP/1.0\r\n\r\n").expect("asking");
        thread::sleep(Duration::from_millis(300));
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).expect("the answer");
        assert!(answer.len() > SIZE, "{} bytes", answer.len());
    });
    let direct = report.bytes("read+write", Kind::Tcp, Kind::Tcp);
    let stored = report.bytes("read+write", Kind::Tcp, Kind::File);
    assert_eq!(direct + stored, SIZE as u64);
    assert!(stored > 0, "the client was not slow enough");
    assert_eq!(report.bytes("sendfile", Kind::File, Kind::Tcp), stored);
}
