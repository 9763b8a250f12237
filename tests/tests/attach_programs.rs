//! `zc verify -p` on servers that run already: nginx, and a Java program.

use std::{fs, io::Read as _, net::TcpStream, path::Path};

use zc_tests::{
    job::{Job, Running},
    machine::{random_file, target_tmp, temp_dir, wait_for},
    nginx::{Nginx, SIZE},
    zc::Zc,
};

const HOLDS: i32 = 0;
const DOES_NOT_HOLD: i32 = 3;

/// Watches processes, and does something when they are watched; returns the code and the first line of the answer.
fn watched(zc: &Zc, pids: &[String], options: &[&str], work: impl FnOnce()) -> (i32, String) {
    let words = ["verify"].into_iter().chain(pids.iter().flat_map(|pid| ["-p", pid]));
    let words: Vec<_> = words.chain(options.iter().copied()).collect();
    let mut running: Running = zc.job(&words).start();
    running.wait_for_error("zc: watching ");
    work();
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.pid())).expect("zc");
    running.signal(libc::SIGINT);
    let done = running.finish();
    assert!(!stat.contains(") Z "), "it has ended before: {}", done.stderr);
    let answer = String::from_utf8_lossy(&done.stdout).lines().next().unwrap_or_default().to_owned();
    (done.code(), answer)
}

/// The workers of an nginx, which it makes when it listens already.
fn workers(master: i32) -> Vec<String> {
    wait_for("two workers", || Some(children(master)).filter(|workers| workers.len() == 2))
}

fn children(pid: i32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
    children.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn workers_of_nginx_are_watched_while_they_serve() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let total = 3 * SIZE;
    for (directives, code, answer) in [
        (
            "sendfile on;",
            HOLDS,
            format!("holds: 0 bytes copied, {total} by reference, 0 unknown, of {total} in 3 flows"),
        ),
        (
            "sendfile on; aio threads;",
            HOLDS,
            format!("holds: 0 bytes copied, {total} by reference, 0 unknown, of {total} in 3 flows"),
        ),
        (
            "sendfile off;",
            DOES_NOT_HOLD,
            format!(
                "does not hold: {} bytes copied, 0 by reference, 0 unknown, of {total} in 3 flows",
                2 * total
            ),
        ),
    ] {
        let nginx = Nginx::new(directives);
        let running = nginx.start_plain();
        // Its threads, its memory and its caches of open files are there before.
        nginx.get("large.bin", SIZE);
        let file = nginx.text("www/large.bin");
        let workers = workers(running.pid());
        let got =
            watched(&zc, &workers, &["--file", &file], || (0..3).for_each(|_| nginx.get("large.bin", SIZE)));
        assert_eq!((got.0, got.1.starts_with(&answer)), (code, true), "{directives} {}", got.1);
    }
}

/// The master makes a worker anew when one has ended: a child that is made later.
#[test]
fn a_worker_that_its_master_makes_later_is_watched_with_it() {
    let Some(zc) = Zc::with(&["nginx", "curl"]) else { return };
    let nginx = Nginx::new("sendfile on;");
    let running = nginx.start_plain();
    let (master, former) = (running.pid(), workers(running.pid()));
    let file = nginx.text("www/large.bin");
    let got = watched(&zc, &[master.to_string()], &["--file", &file], || {
        for worker in &former {
            let worker: i32 = worker.parse().expect("a process id");
            // SAFETY: a worker of the server that this test started.
            assert_eq!(unsafe { libc::kill(worker, libc::SIGKILL) }, 0);
        }
        wait_for("new workers", || {
            let now = children(master);
            (now.len() == 2 && now.iter().all(|worker| !former.contains(worker))).then_some(())
        });
        nginx.get("large.bin", SIZE);
    });
    assert_eq!(got.0, HOLDS, "{}", got.1);
    assert!(got.1.starts_with(&format!("holds: 0 bytes copied, {SIZE} by reference")), "{}", got.1);
}

#[test]
fn a_java_program_is_watched_with_the_threads_that_it_has() {
    const BYTES: usize = 5 * 1024 * 1024 + 12_347;
    let Some(zc) = Zc::with(&["java", "javac"]) else { return };
    let classes = target_tmp().join("java").to_str().expect("UTF-8").to_owned();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/TransferToSocket.java");
    let done = Job::new(&["javac", "-d", &classes, source.to_str().expect("UTF-8")]).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let dir = temp_dir();
    let input = random_file(dir.path(), "in.bin", BYTES);
    let mut java = Job::new(&["java", "-cp", &classes, "TransferToSocket", &input]).start();
    let port = wait_for("the port of the Java program", || {
        let said = String::from_utf8(java.stdout_so_far()).ok()?;
        said.strip_prefix("port ")?.split_once('.')?.0.parse::<u16>().ok()
    });
    let threads = fs::read_dir(format!("/proc/{}/task", java.pid())).expect("its threads").count();
    assert!(threads > 2, "{threads} threads");
    // It ends by itself, and zc with it or by its signal.
    let words = ["verify", "-p", &java.pid().to_string(), "--file", &input];
    let mut running = zc.job(&words).start();
    running.wait_for_error("zc: watching 1 process with ");
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the Java program");
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("the file");
    drop(client);
    let (said, done) = (java.finish(), running.finish());
    assert!(received == fs::read(&input).expect("the input"));
    assert_eq!(said.code(), 0, "{}", said.stderr);
    let answer = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.code(), HOLDS, "{answer}{}", done.stderr);
    assert!(
        answer.starts_with(&format!("holds: 0 bytes copied, {BYTES} by reference, 0 unknown")),
        "{answer}"
    );
}
