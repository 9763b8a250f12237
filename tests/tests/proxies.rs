//! Proxies between a client and a server: what they receive is what they send, and along which path.
//!
//! The witnesses: the logs of both servers, curl's count, and for each worker what the kernel counted.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use zc_tests::{
    expect::Kind,
    fixtures::content,
    machine::{free_port, temp_dir, wait_for_port},
    nginx::{Nginx, SIZE, SMALL},
    report::Report,
    zc::{Traced, Zc},
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

/// A client sends `up` through the proxy, and gets `down` back; each side sees that all of it comes.
fn exchange(listener: &TcpListener, port: u16, up: &[u8], down: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut got = vec![0; up.len()];
            // Who only looked whether the proxy listens has sent nothing.
            let mut server = loop {
                let (mut server, _) = listener.accept().expect("the proxy");
                if server.read_exact(&mut got).is_ok() {
                    break server;
                }
            };
            assert!(got == up, "what came to the server");
            server.write_all(down).expect("answering");
            server.shutdown(Shutdown::Write).expect("the end");
            assert_eq!(server.read(&mut [0]).expect("the end"), 0);
        });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the proxy");
        client.write_all(up).expect("asking");
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("the answer");
        assert!(got == down, "what came to the client");
    });
}

/// What is large it hands on from socket to pipe to socket; the first bytes may go through memory.
#[test]
fn haproxy_splices_streams_from_socket_to_socket() {
    const EXCHANGES: u64 = 3;
    let Some(zc) = Zc::with(&["haproxy"]) else { return };
    let dir = temp_dir();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let (port, behind) = (free_port(), listener.local_addr().expect("its address"));
    let config = dir.path().join("haproxy.cfg");
    let text = format!(
        "global\n maxpipes 64\n nbthread 1\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen relay\n bind 127.0.0.1:{port}\n option splice-request\n option splice-response\n \
         server behind {behind}\n"
    );
    fs::write(&config, text).expect("a configuration");
    let (up, down) = (content(SIZE / 2), content(SIZE));
    let serving = zc.start(&["haproxy", "-db", "-f", config.to_str().expect("UTF-8")]);
    wait_for_port(port);
    (0..EXCHANGES).for_each(|_| exchange(&listener, port, &up, &down));
    serving.running.signal(libc::SIGUSR1);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    // What it read of its configuration lies in memory that it uses for something else.
    assert!(report.losses().iter().all(|(name, _)| *name == "pairs_evicted"), "{:?}", report.losses());
    let bytes = EXCHANGES * (up.len() + down.len()) as u64;
    assert_eq!(received_and_sent(&report), (bytes, bytes));
    let spliced = report.bytes("splice", Kind::Tcp, Kind::Tcp);
    let relayed = report.bytes("read+write", Kind::Tcp, Kind::Tcp);
    assert_eq!(spliced + relayed, bytes, "each byte in one row");
    assert!(spliced > bytes / 2, "only {spliced} of {bytes} bytes were spliced");
    let legs = report.bytes("splice", Kind::Tcp, Kind::Pipe) + report.bytes("splice", Kind::Pipe, Kind::Tcp);
    assert_eq!(legs, 0, "nothing stays in a pipe");
    let behind = behind.to_string();
    let from_behind = report.flow_bytes(None, "splice", Some(&behind), None)
        + report.flow_bytes(None, "read+write", Some(&behind), None);
    assert_eq!(from_behind, EXCHANGES * down.len() as u64, "answers");
}
