//! What a daemon keeps of processes that live for long: everything that they moved, and not more names than there is room for.

use serde_json::Value;
use zc_tests::{
    daemon::{Daemon, bytes, counted, sum},
    job::Job,
    machine::{self, python, wait_for},
    relay::wait_until_it_reads,
    zc::Zc,
};

/// Copies a block from a file into a new one, and sends it over a new connection, so many times, each time that it is told to; in
/// two threads.
const SERVER: &str = r#"
import os, socket, sys, threading
directory, rounds = sys.argv[1], int(sys.argv[2])
server = socket.create_server(("127.0.0.1", 0))
turn = 0
def work(number):
    data = bytearray(4096)
    for round in range(rounds):
        name = f"{directory}/{number}-{turn}-{round}"
        source = os.open(directory + "/in.bin", os.O_RDONLY)
        target = os.open(name, os.O_RDWR | os.O_CREAT)
        os.preadv(source, [data], 0)
        os.write(target, data)
        out = socket.create_connection(server.getsockname())
        os.sendfile(out.fileno(), target, 0, 4096)
        out.close(); os.close(source); os.close(target); os.unlink(name)
def accept():
    while True:
        connection, _ = server.accept()
        while connection.recv(65536): pass
        connection.close()
threading.Thread(target=accept, daemon=True).start()
os.write(1, b"ready\n")
while os.read(0, 1):
    turn += 1
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    os.write(1, b"done\n")
"#;

/// Connections and files of each turn, more than half of what there is room for.
const ROUNDS: usize = 200;
const TURNS: usize = 12;

#[test]
fn a_server_that_opens_more_than_there_is_room_for_keeps_all_bytes_and_gets_new_names() {
    let Some(zc) = Zc::with(&[]) else { return };
    let settings = "[account]\ninterval = \"100ms\"\nscan = \"100ms\"\n\
                    [capacity]\nobjects_max = 2048\nflows_max = 4096\nrows_max = 16384\n";
    let daemon = Daemon::start(&zc, settings);
    let dir = machine::temp_dir();
    machine::random_file(dir.path(), "in.bin", 4096);
    let path = dir.path().to_str().expect("UTF-8").to_owned();
    let mut server = Job::new(&[python(), "-c", SERVER, &path, &ROUNDS.to_string()]).with_input().start();
    server.wait_for_output("ready\n");
    daemon.trace(server.pid());
    let before = counted(server.pid()).expect("its counters");
    for turn in 1..=TURNS {
        server.input(b"\n");
        wait_for("the server", || {
            let said = String::from_utf8_lossy(&server.stdout_so_far()).matches("done").count();
            (said == turn).then_some(())
        });
        if turn == TURNS {
            break;
        }
        // Names are forgotten when they were not used for some sweeps, each of four intervals.
        let looks = |health: &Value| health["looks"].as_u64().expect("looks");
        let now = looks(&daemon.get("/v1/health").json());
        wait_for("some sweeps", || (looks(&daemon.get("/v1/health").json()) > now + 28).then_some(()));
    }
    wait_until_it_reads(server.pid());
    let after = counted(server.pid()).expect("its counters");
    let process = daemon.process(server.pid()).expect("the process");
    daemon.assert_nothing_lost();
    let own = (after.0 - before.0, after.1 - before.1);
    assert_eq!((sum(&process, "rchar_bytes"), sum(&process, "wchar_bytes")), own, "{process}");
    let moved = (2 * ROUNDS * TURNS * 4096) as u64;
    assert_eq!(bytes(&process, &["sendfile"]), moved, "{process}");
    assert_eq!(bytes(&process, &["read+write"]), moved, "{process}");
    assert_eq!(sum(&process, "unknown_bytes"), 0, "{process}");
    // What the last turn used has names, what the first one used is a sum.
    let flows = daemon.get(&format!("/v1/flows?max_age=0ms&limit=100000&pid={}", server.pid())).json();
    let flows = flows["flows"].as_array().expect("flows");
    assert!(flows.len() < 2048, "{}", flows.len());
    let of_turn = |turn: usize| {
        let name = format!("{path}/1-{turn}-");
        flows
            .iter()
            .filter(|flow| flow["destination"]["name"].as_str().is_some_and(|file| file.starts_with(&name)))
            .count()
    };
    assert_eq!((of_turn(1), of_turn(TURNS) > 0), (0, true));
    server.finish();
    daemon.stop();
}

/// The same of a process that never stops: no look finds less than the one before, and at the end all of it is there.
#[test]
fn rows_that_are_handed_over_while_they_are_looked_at_are_counted_once() {
    let Some(zc) = Zc::with(&[]) else { return };
    let daemon = Daemon::start(&zc, "[account]\ninterval = \"100ms\"\nscan = \"100ms\"");
    let dir = machine::temp_dir();
    machine::random_file(dir.path(), "in.bin", 4096);
    let path = dir.path().to_str().expect("UTF-8").to_owned();
    let mut server = Job::new(&[python(), "-c", SERVER, &path, "2000"]).with_input().start();
    server.wait_for_output("ready\n");
    daemon.trace(server.pid());
    let before = counted(server.pid()).expect("its counters");
    server.input(b"\n");
    let mut last = 0;
    while !String::from_utf8_lossy(&server.stdout_so_far()).contains("done") {
        let process = daemon.process(server.pid()).expect("the process");
        let seen = sum(&process, "wchar_bytes");
        let most = counted(server.pid()).expect("its counters").1 - before.1;
        assert!(seen <= most, "{seen} of {most}");
        assert!(seen >= last, "{seen} after {last}");
        last = seen;
    }
    wait_until_it_reads(server.pid());
    let after = counted(server.pid()).expect("its counters");
    let process = daemon.process(server.pid()).expect("the process");
    let own = (after.0 - before.0, after.1 - before.1);
    assert_eq!((sum(&process, "rchar_bytes"), sum(&process, "wchar_bytes")), own, "{process}");
    server.finish();
    daemon.stop();
}
