//! Servers with a thousand connections at once.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
};

use zc_tests::{
    expect::Kind,
    job::Job,
    machine::{free_port, python, wait_for, wait_for_port},
    report::{Process, Report},
    zc::{Traced, Zc},
};

const CONNECTIONS: usize = 1000;

/// Each connection has its flows, and some of them several.
const FLOWS: [&str; 4] = ["--flows-max", "8192", "--objects-max", "16384"];

/// Raises the limit of open files, for this process and what it starts, as far as it needs.
fn allow_files() {
    let wanted = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structures live through the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now), 0);
        if now.rlim_cur < wanted.rlim_cur {
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted), 0, "4096 open files");
        }
    }
}

/// All that the process sent to TCP sockets, from wherever.
fn sent(process: &Process) -> u64 {
    process.paths.iter().filter(|row| row.destination == Kind::Tcp).map(|row| row.bytes).sum()
}

fn received(process: &Process) -> u64 {
    process.paths.iter().filter(|row| row.source == Kind::Tcp).map(|row| row.bytes).sum()
}

/// How many peers the process has flows with, and the bytes of those flows.
fn peers(report: &Report, is_source: bool) -> (usize, u64) {
    let mut names = std::collections::BTreeSet::new();
    let mut bytes = 0;
    for flow in &report.flows {
        let end = if is_source { &flow.source } else { &flow.destination };
        if end.kind == Kind::Tcp {
            names.insert(end.name.as_deref().expect("a peer"));
            bytes += flow.bytes;
        }
    }
    (names.len(), bytes)
}

/// Asks redis what it counted; returns that and the length of the answer, which is not yet in it.
fn redis_counted(port: u16) -> (u64, u64, u64) {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("redis");
    connection.write_all(b"INFO stats\r\n").expect("asking redis");
    let mut answer = String::new();
    let whole = |answer: &str| {
        let (length, body) = answer.strip_prefix('$')?.split_once("\r\n")?;
        (body.len() == length.parse::<usize>().ok()? + 2).then_some(())
    };
    while whole(&answer).is_none() {
        let mut piece = [0; 4096];
        let count = connection.read(&mut piece).expect("redis's answer");
        assert!(count > 0, "redis said only {answer}");
        answer.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
    }
    let value = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {answer}"))
    };
    (value("total_net_input_bytes"), value("total_net_output_bytes"), answer.len() as u64)
}

#[test]
fn redis_receives_and_sends_what_it_counts() {
    let Some(zc) = Zc::with(&["redis-server", "redis-benchmark"]) else { return };
    allow_files();
    let port = free_port();
    let text = port.to_string();
    let server = ["redis-server", "--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let serving = zc.start_with(&FLOWS, &server);
    wait_for_port(port);
    let words =
        ["redis-benchmark", "-p", &text, "-c", "1000", "-n", "6007", "-d", "101", "-t", "set,get", "-q"];
    let done = Job::new(&words).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let (input, output, answer) = redis_counted(port);
    assert!(input > 6007 * 101, "redis says it received {input} bytes");
    serving.running.signal(libc::SIGTERM);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    // It reads into a thousand buffers what it never writes from there, more than is remembered, and some answers are
    // made in memory that was such a buffer. They may be legs for that; their bytes are there.
    assert!(report.losses().iter().all(|(name, _)| *name == "pairs_evicted"), "{:?}", report.losses());
    let redis = report.named("redis-server");
    assert_eq!(received(redis), input);
    assert_eq!(sent(redis), output + answer);
    let (from, bytes) = peers(&report, true);
    assert!(from > 2 * CONNECTIONS, "{from} clients, a thousand for each test of the benchmark");
    assert_eq!(bytes, input, "each byte is in the flow of a client");
    assert_eq!(peers(&report, false).1, output + answer);
}

#[test]
fn an_event_loop_with_a_thousand_connections_relays_each_to_itself() {
    let Some(zc) = Zc::with(&["python3"]) else { return };
    allow_files();
    let script = "
import os, select, socket, sys
listener = socket.create_server(('127.0.0.1', 0), backlog=1000)
print('port {}.'.format(listener.getsockname()[1]), flush=True)
poll = select.epoll()
poll.register(listener.fileno(), select.EPOLLIN)
peers, ended = {}, 0
while ended < int(sys.argv[1]):
    for number, _ in poll.poll():
        if number == listener.fileno():
            peer, _ = listener.accept()
            peers[peer.fileno()] = peer
            poll.register(peer.fileno(), select.EPOLLIN)
            continue
        data = os.read(number, 65536)
        if data:
            assert os.write(number, data) == len(data)
        else:
            peers.pop(number).close()
            ended += 1
";
    let count = CONNECTIONS.to_string();
    let mut serving = zc.start_with(&FLOWS, &[python(), "-c", script, &count]);
    let port = wait_for("the port of the event loop", || {
        let said = String::from_utf8(serving.running.stdout_so_far()).ok()?;
        said.strip_prefix("port ")?.split_once('.')?.0.parse::<u16>().ok()
    });
    let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the event loop");
    let mut connections: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
    let mut total = 0;
    // All are open all the time, and each has its turn three times.
    for round in 1..=3 {
        for (i, connection) in connections.iter_mut().enumerate() {
            let data = vec![b'x'; 100 * round + i];
            connection.write_all(&data).expect("sending");
            total += data.len() as u64;
        }
        for (i, connection) in connections.iter_mut().enumerate() {
            connection.read_exact(&mut vec![0; 100 * round + i]).expect("the echo");
        }
    }
    let names: Vec<String> = connections
        .iter()
        .map(|connection| connection.local_addr().expect("an address").to_string())
        .collect();
    drop(connections);
    let Traced { report, done, .. } = serving.collect();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    report.assert_nothing_lost();
    let process = report.named("python3");
    let row = process.row("read+write", Kind::Tcp, Kind::Tcp).expect("a relay");
    assert_eq!((row.bytes, row.cpu_copied_bytes), (total, Some(2 * total)));
    assert_eq!(received(process), total);
    for (i, name) in names.iter().enumerate() {
        let own = 3 * i as u64 + 600;
        assert_eq!(report.flow("read+write", Some(name), Some(name)).1, own, "the echo to {name}");
    }
}
