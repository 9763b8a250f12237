//! Relays of datagrams and of streams: what they receive they send on from where it is, and each byte is in one row.
//!
//! The witness: both ends of the relay are in this program, which knows what it sent, and looks at what comes.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    thread,
};

use zc_tests::{
    expect::Kind,
    fixtures::content,
    job::Running,
    machine::{python, temp_dir},
    report::{Process, Report, Row},
    zc::{Traced, Zc},
};

/// Datagrams of odd sizes; one more, which is empty, ends the relay.
const MESSAGES: usize = 211;

fn size_of(message: usize) -> usize {
    601 + message * 97 % 800
}

/// Bytes of a stream.
const SIZE: usize = 3 * 1024 * 1024 + 12_347;

/// Receives into one buffer, and sends from there.
const REUSED: &str = "
buffer = memoryview(bytearray(65536))
while n := near.recv_into(buffer):
    far.sendall(buffer[:n])
";
/// Receives into memory that is new to each message.
const FRESH: &str = "
while message := near.recv(2048):
    far.sendall(message)
";

/// Traces a relay between two sockets that these lines make, while the ends work; they are told what it said.
fn relayed(
    zc: &Zc,
    sockets: &str,
    relay: &str,
    argument: &str,
    ends: impl FnOnce(&str, &mut Running),
) -> Report {
    let script = format!("import socket, sys\n{sockets}{relay}");
    let mut serving = zc.start(&[python(), "-c", &script, argument]);
    serving.running.wait_for_output("\n");
    let said = String::from_utf8_lossy(&serving.running.stdout_so_far()).trim().to_owned();
    ends(&said, &mut serving.running);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    report.assert_nothing_lost();
    report
}

/// The process of the relay, all of whose bytes between such sockets are one row.
fn the_relay(report: &Report, kind: Kind, bytes: u64) -> &Process {
    let [relay] = &report.processes[..] else { panic!("{} processes", report.processes.len()) };
    let row = relay.row("read+write", kind, kind).expect("a relay");
    assert_eq!((row.bytes, row.cpu_copied_bytes), (bytes, Some(2 * bytes)), "{kind:?}");
    assert_eq!((row.verdict.as_str(), row.rchar_bytes, row.wchar_bytes), ("copied", 0, 0));
    let ends = |row: &&Row| row.source == kind || row.destination == kind;
    assert_eq!(relay.paths.iter().filter(ends).map(|row| row.bytes).sum::<u64>(), bytes, "in all rows");
    relay
}

/// Each datagram is one that is received and one that is sent, and the empty one is received alone.
fn one_by_one(report: &Report, kind: Kind) {
    let bytes: u64 = (0..MESSAGES).map(|message| size_of(message) as u64).sum();
    let relay = the_relay(report, kind, bytes);
    let row = relay.row("read+write", kind, kind).expect("a relay");
    let messages = MESSAGES as u64;
    assert_eq!((row.transfers, row.syscalls), (messages, 2 * messages));
    let end = relay.row("read", kind, Kind::Memory).expect("the end");
    assert_eq!((end.bytes, end.transfers, end.syscalls), (0, 0, 1));
}

/// Sends the datagrams one by one, each when the one before it has come out of the relay.
fn in_turn(send: impl Fn(&[u8]), receive: impl Fn(&mut [u8]) -> usize) {
    let bytes = content(4096);
    for message in 0..MESSAGES {
        let sent = &bytes[message..][..size_of(message)];
        send(sent);
        let mut buffer = [0; 4096];
        let len = receive(&mut buffer);
        assert!(buffer[..len] == *sent, "datagram {message}");
    }
    send(&[]);
}

#[test]
fn a_relay_of_udp_datagrams_copies_each_twice() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    let sockets = "
near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
near.bind(('127.0.0.1', 0))
far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
far.connect(('127.0.0.1', int(sys.argv[1])))
print(near.getsockname()[1], flush=True)
";
    for relay in [REUSED, FRESH] {
        let [source, sink] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
        let port = sink.local_addr().expect("its address").port().to_string();
        let report = relayed(&zc, sockets, relay, &port, |said, _| {
            let port: u16 = said.parse().expect("a port");
            source.connect((Ipv4Addr::LOCALHOST, port)).expect("connecting");
            in_turn(
                |bytes| assert_eq!(source.send(bytes).expect("sending"), bytes.len()),
                |buffer| sink.recv(buffer).expect("receiving"),
            );
        });
        one_by_one(&report, Kind::Udp);
    }
}

#[test]
fn a_relay_of_unix_datagrams_copies_each_twice() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    let sockets = "
near, far = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
near.bind(sys.argv[1] + '/near')
far.connect(sys.argv[1] + '/far')
print('ready', flush=True)
";
    for relay in [REUSED, FRESH] {
        let dir = temp_dir();
        let source = UnixDatagram::unbound().expect("a socket");
        let sink = UnixDatagram::bind(dir.path().join("far")).expect("a socket");
        let report = relayed(&zc, sockets, relay, dir.path().to_str().expect("UTF-8"), |_, _| {
            source.connect(dir.path().join("near")).expect("connecting");
            in_turn(
                |bytes| assert_eq!(source.send(bytes).expect("sending"), bytes.len()),
                |buffer| sink.recv(buffer).expect("receiving"),
            );
        });
        one_by_one(&report, Kind::Unix);
    }
}

/// Sends a stream at one end while the other end takes it, a little at a time.
fn through(mut source: impl Write + Send, mut sink: impl Read, end: impl FnOnce() + Send) {
    let bytes = content(SIZE);
    thread::scope(|scope| {
        scope.spawn(|| {
            source.write_all(&bytes).expect("sending");
            end();
        });
        let mut got = Vec::new();
        let mut buffer = [0; 9973];
        loop {
            let len = sink.read(&mut buffer).expect("receiving");
            if len == 0 {
                break;
            }
            got.extend_from_slice(&buffer[..len]);
        }
        assert!(got == bytes, "{} of {SIZE} bytes", got.len());
    });
}

#[test]
fn a_relay_of_unix_streams_copies_each_byte_twice() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    let sockets = "
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1] + '/near')
listener.listen()
far = socket.socket(socket.AF_UNIX)
far.connect(sys.argv[1] + '/far')
print('ready', flush=True)
near, _ = listener.accept()
";
    let dir = temp_dir();
    let listener = UnixListener::bind(dir.path().join("far")).expect("a socket");
    let report = relayed(&zc, sockets, REUSED, dir.path().to_str().expect("UTF-8"), |_, _| {
        let source = UnixStream::connect(dir.path().join("near")).expect("connecting");
        let (sink, _) = listener.accept().expect("the relay");
        through(&source, &sink, || source.shutdown(Shutdown::Write).expect("the end"));
    });
    the_relay(&report, Kind::Unix, SIZE as u64);
}

#[test]
fn a_relay_of_tcp_streams_copies_each_byte_twice_and_names_both_peers() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    let sockets = "
listener = socket.create_server(('127.0.0.1', 0))
far = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
near, _ = listener.accept()
";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let behind = listener.local_addr().expect("its address");
    let mut before = None;
    let report = relayed(&zc, sockets, REUSED, &behind.port().to_string(), |said, _| {
        let port: u16 = said.parse().expect("a port");
        let source = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connecting");
        before = source.local_addr().ok();
        let (sink, _) = listener.accept().expect("the relay");
        through(&source, &sink, || source.shutdown(Shutdown::Write).expect("the end"));
    });
    the_relay(&report, Kind::Tcp, SIZE as u64);
    let peers = [before.expect("an address").to_string(), behind.to_string()];
    let flow = report.flow_bytes(None, "read+write", Some(&peers[0]), Some(&peers[1]));
    assert_eq!(flow, SIZE as u64);
}
