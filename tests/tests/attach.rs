//! `zc verify -p`: processes that run already, with whatever they have opened, mapped, filled and begun.

use std::fs;

use serde_json::Value;
use zc_tests::{
    fixtures::former::{CHILDREN, KEPT, LATER_CALLS, LATER_THREADS, LEN, PIPED, SENT, THREADS},
    job::{Job, Running},
    machine::{self, python},
    zc::Zc,
};

const HOLDS: i32 = 0;
const FAILED: i32 = 1;
const DOES_NOT_HOLD: i32 = 3;
const CANNOT_BE_DECIDED: i32 = 5;

/// One of the programs that have begun before anybody looks.
struct Former {
    running: Running,
    dir: tempfile::TempDir,
}

impl Former {
    /// Starts it, and waits until it waits.
    fn start(name: &str) -> Self {
        let dir = machine::temp_dir();
        let words = [env!("CARGO_BIN_EXE_zc-fixture"), "--former", name, dir.path().to_str().expect("UTF-8")];
        let mut running = Job::new(&words).with_input().start();
        running.wait_for_output("ready\n");
        Self { running, dir }
    }

    fn pid(&self) -> String {
        self.running.pid().to_string()
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Lets it go on until it has done everything; returns the number that it says.
    fn go_on(&mut self) -> u64 {
        self.running.input(b"\n");
        self.running.wait_for_output("done");
        wait_until_waiting(self.running.pid());
        let said = String::from_utf8(self.running.stdout_so_far()).expect("UTF-8");
        said.trim().rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// Bytes that the kernel has counted as read and written.
    fn counted(&self) -> (u64, u64) {
        let io = fs::read_to_string(format!("/proc/{}/io", self.running.pid())).expect("its counters");
        let value = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).expect("a counter")
        };
        (value("rchar:"), value("wchar:"))
    }
}

/// Waits until the process, one of whose threads has said something, waits for its input.
fn wait_until_waiting(pid: i32) {
    machine::wait_for("a read of the input", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        // The number of the call, then its first argument.
        let mut calls =
            threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("syscall")).ok());
        calls.any(|call| call.starts_with("0 0x0 ")).then_some(())
    });
}

/// `zc verify -p`, which watches.
struct Watching {
    running: Running,
    answer: std::path::PathBuf,
}

fn watch(zc: &Zc, pids: &[&str], options: &[&str]) -> Watching {
    let answer = zc.report_path("answer.json");
    let mut words = vec!["verify", "--format", "json", "-o", answer.to_str().expect("UTF-8")];
    words.extend(pids.iter().flat_map(|pid| ["-p", pid]));
    words.extend(options);
    let mut running = zc.job(&words).start();
    running.wait_for_error("zc: watching ");
    Watching { running, answer }
}

impl Watching {
    /// Ends it as Ctrl-C does.
    fn end(self, code: i32) -> Value {
        self.running.signal(libc::SIGINT);
        self.finish(code)
    }

    /// The same, where one of several answers may be right.
    fn end_with(self, codes: &[i32]) -> Value {
        self.running.signal(libc::SIGINT);
        self.finish_with(codes)
    }

    /// Waits for its end.
    fn finish(self, code: i32) -> Value {
        self.finish_with(&[code])
    }

    fn finish_with(self, codes: &[i32]) -> Value {
        let Self { running, answer } = self;
        let done = running.finish();
        let answer = fs::read_to_string(&answer).unwrap_or_else(|error| panic!("{error}: {}", done.stderr));
        assert!(codes.contains(&done.code()), "{} of {codes:?}: {answer}\n{}", done.code(), done.stderr);
        serde_json::from_str(&answer).expect("JSON")
    }
}

fn nothing_lost(answer: &Value) {
    let lost = answer["lost"].as_object().expect("losses");
    assert!(lost.values().all(|count| count == 0), "{lost:?}");
}

/// Bytes of the rows of these paths that broke the expectation, of one process or of all.
fn bytes(answer: &Value, paths: &[&str], pid: Option<i32>) -> u64 {
    let rows = answer["rows"].as_array().expect("rows").iter();
    let rows = rows.filter(|row| {
        paths.iter().any(|path| row["path"] == *path) && pid.is_none_or(|pid| row["pid"] == pid)
    });
    rows.map(|row| row["bytes"].as_u64().expect("bytes")).sum()
}

/// Bytes of flows of a path between ends of these names; nothing is an end without one.
fn flow(answer: &Value, path: &str, source: Option<&str>, destination: Option<&str>) -> u64 {
    let name = |name: Option<&str>| name.map_or(Value::Null, Value::from);
    let (source, destination) = (name(source), name(destination));
    let flows = answer["flows"].as_array().expect("flows").iter().filter(|flow| {
        flow["path"] == path && flow["source"]["name"] == source && flow["destination"]["name"] == destination
    });
    flows.map(|flow| flow["bytes"].as_u64().expect("bytes")).sum()
}

/// Threads that wait in a call when zc comes, threads and children that come later.
#[test]
fn what_running_processes_move_is_what_the_kernel_counts() {
    let Some(zc) = Zc::with(&[]) else { return };
    for options in [&[][..], &["--no-count-calls"], &["--no-faults"]] {
        let (mut one, mut other) = (Former::start("calls"), Former::start("calls"));
        let (before, other_before) = (one.counted(), other.counted());
        let watching = watch(&zc, &[&one.pid(), &other.pid()], options);
        one.go_on();
        other.go_on();
        let (after, other_after) = (one.counted(), other.counted());
        let answer = watching.end(DOES_NOT_HOLD);
        nothing_lost(&answer);
        assert_eq!((&answer["command"], answer["pids"].as_array().map(Vec::len)), (&Value::Null, Some(2)));
        // What children have read is added to that of the parent that has waited for them.
        let (read, written) = (["read", "read+write", "sendfile"], ["write", "read+write", "sendfile"]);
        let counted = |after: (u64, u64), before: (u64, u64)| (after.0 - before.0, after.1 - before.1);
        let (own, others) = (counted(after, before), counted(other_after, other_before));
        let all = (bytes(&answer, &read, None), bytes(&answer, &written, None));
        assert_eq!(all, (own.0 + others.0, own.1 + others.1), "{options:?}: {answer}");
        // One by one: the process, and each of its children.
        let pid = Some(one.running.pid());
        let of_children = (CHILDREN.iter().sum::<usize>() * LEN) as u64;
        assert_eq!(bytes(&answer, &read, pid) + of_children, own.0, "{options:?}");
        assert_eq!(bytes(&answer, &written, pid), own.1, "{options:?}");
        let calls =
            THREADS.iter().sum::<usize>() + LATER_THREADS * LATER_CALLS + CHILDREN.iter().sum::<usize>();
        assert_eq!(flow(&answer, "read", Some(&one.file("in.bin")), None), (calls * LEN) as u64);
        for (i, calls) in THREADS.iter().enumerate() {
            let output = one.file(&format!("out-{i}.bin"));
            assert_eq!(flow(&answer, "write", None, Some(&output)), (calls * LEN) as u64, "{options:?}");
        }
        let (input, sent) = (one.file("in.bin"), one.file("sent.bin"));
        assert_eq!(flow(&answer, "sendfile", Some(&input), Some(&sent)), SENT as u64);
        let children: Vec<u64> = answer["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .filter(|row| row["path"] == "read")
            .filter(|row| row["pid"] != one.running.pid() && row["pid"] != other.running.pid())
            .map(|row| row["bytes"].as_u64().expect("bytes"))
            .collect();
        let mut expected: Vec<u64> =
            CHILDREN.iter().chain(&CHILDREN).map(|calls| (calls * LEN) as u64).collect();
        let mut children = children;
        children.sort_unstable();
        expected.sort_unstable();
        assert_eq!(children, expected, "{options:?}");
        one.running.finish();
        other.running.finish();
    }
}

#[test]
fn children_are_left_out_when_they_are_not_followed() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut former = Former::start("calls");
    let watching = watch(&zc, &[&former.pid()], &["--no-follow"]);
    former.go_on();
    let answer = watching.end(DOES_NOT_HOLD);
    nothing_lost(&answer);
    let calls = THREADS.iter().sum::<usize>() + LATER_THREADS * LATER_CALLS;
    assert_eq!(flow(&answer, "read", Some(&former.file("in.bin")), None), (calls * LEN) as u64);
}

/// What was read before is none of what is written afterwards; what is mapped, was mapped before as well.
#[test]
fn memory_that_was_filled_before_is_memory_and_a_file_that_was_mapped_before_is_the_file() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut former = Former::start("memory");
    let watching = watch(&zc, &[&former.pid()], &[]);
    former.go_on();
    let answer = watching.end(DOES_NOT_HOLD);
    nothing_lost(&answer);
    let [input, mapped, output] = ["in.bin", "mapped.bin", "out.bin"].map(|name| former.file(name));
    assert_eq!(flow(&answer, "write", None, Some(&output)), KEPT as u64);
    assert_eq!(flow(&answer, "read+write", Some(&input), Some(&output)), KEPT as u64);
    assert_eq!(flow(&answer, "mmap+write", Some(&mapped), Some(&output)), 2 * KEPT as u64);
    assert_eq!(flow(&answer, "read", Some(&input), None), 0, "it is in the pair");
}

#[test]
fn bytes_that_were_in_a_pipe_before_come_from_the_pipe_and_those_after_them_from_their_file() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut former = Former::start("pipe");
    let watching = watch(&zc, &[&former.pid()], &["--path", "splice"]);
    former.go_on();
    let answer = watching.end(DOES_NOT_HOLD);
    nothing_lost(&answer);
    let [before, after, output] = ["before.bin", "after.bin", "out.bin"].map(|name| former.file(name));
    assert_eq!(flow(&answer, "splice", Some(&after), Some(&output)), PIPED as u64, "{answer}");
    assert_eq!(flow(&answer, "splice", Some(&before), Some(&output)), 0, "{answer}");
    assert_eq!(answer["selected"]["bytes"], 2 * PIPED, "{answer}");
}

#[test]
fn requests_of_a_ring_that_was_made_before_count_also_that_which_waits() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut former = Former::start("ring");
    let watching = watch(&zc, &[&former.pid()], &[]);
    former.go_on();
    let answer = watching.end(DOES_NOT_HOLD);
    nothing_lost(&answer);
    let rows = answer["rows"].as_array().expect("rows").iter().filter(|row| row["via"] == "io_uring");
    let mut rows: Vec<_> = rows.map(|row| (row["source"]["kind"].clone(), row["bytes"].clone())).collect();
    rows.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(rows, [("file".into(), (4 * LEN).into()), ("unix".into(), LEN.into())]);
    assert_eq!(flow(&answer, "read", Some(&former.file("in.bin")), None), 4 * LEN as u64);
}

/// Bytes that were on their way leave among those that come, and never count for them.
#[test]
fn what_a_connection_had_to_send_before_makes_nothing_known_that_is_not() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut former = Former::start("stream");
    let watching = watch(&zc, &[&former.pid()], &["--path", "sendfile"]);
    let sent = former.go_on();
    // Only of the first call it may not be known: when what was on its way left within it.
    let answer = watching.end_with(&[HOLDS, CANNOT_BE_DECIDED]);
    nothing_lost(&answer);
    let selected = |name: &str| answer["selected"][name].as_u64().expect("bytes");
    let unknown = selected("unknown_bytes");
    assert_eq!((selected("bytes"), selected("cpu_copied_bytes")), (sent, 0), "{answer}");
    assert_eq!(
        (selected("by_reference_bytes"), answer["answer"] == "holds"),
        (sent - unknown, unknown == 0),
        "{answer}"
    );
    assert!(unknown <= 1 << 20, "{answer}");
}

#[test]
fn zero_copy_sends_from_before_are_not_taken_for_those_that_come() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut former = Former::start("zerocopy");
    let watching = watch(&zc, &[&former.pid()], &["--path", "send-zerocopy"]);
    former.go_on();
    let answer = watching.end(DOES_NOT_HOLD);
    let selected = &answer["selected"];
    // Which number the first one has is not known.
    assert_eq!(answer["lost"]["zerocopy_unmatched"], 1, "{answer}");
    assert_eq!(
        (&selected["cpu_copied_bytes"], &selected["by_reference_bytes"], &selected["unknown_bytes"]),
        (&(4 << 14).into(), &0.into(), &(1 << 14).into())
    );
}

#[test]
fn watching_ends_when_time_is_up_when_the_last_process_ends_and_by_signals() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    let start = || Job::new(&["cat"]).with_input().start();
    let (mut one, other) = (start(), start());
    let pids = [one.pid().to_string(), other.pid().to_string()];
    let pids = [pids[0].as_str(), pids[1].as_str()];
    watch(&zc, &pids, &["-d", "100ms"]).finish(CANNOT_BE_DECIDED);
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        let watching = watch(&zc, &pids, &[]);
        watching.running.signal(signal);
        watching.finish(CANNOT_BE_DECIDED);
    }
    let watching = watch(&zc, &pids, &[]);
    other.finish();
    one.input(b"still here\n");
    one.wait_for_output("still here\n");
    one.finish();
    // Eleven bytes in, and out again.
    let answer = watching.finish(DOES_NOT_HOLD);
    nothing_lost(&answer);
    assert_eq!(bytes(&answer, &["read+write"], None), 11);
}

#[test]
fn what_cannot_be_watched_is_said_and_nothing_is_watched() {
    let Some(zc) = Zc::with(&["cat", "sh"]) else { return };
    let mut living = Job::new(&["cat"]).with_input().start();
    let former = Former::start("calls");
    let threads = fs::read_dir(format!("/proc/{}/task", former.pid())).expect("its threads");
    let threads: Vec<_> =
        threads.flatten().filter_map(|thread| thread.file_name().into_string().ok()).collect();
    let thread = threads.iter().find(|thread| **thread != former.pid()).expect("another thread");
    // What has ended and is not waited for has its id still.
    let mut ended = Job::new(&["cat"]).start();
    let of_ended = ended.pid().to_string();
    machine::wait_for("its end", || {
        let stat = fs::read_to_string(format!("/proc/{of_ended}/stat")).ok()?;
        stat.contains(") Z ").then_some(())
    });
    let of_living = living.pid().to_string();
    for (pid, message) in [
        (&of_ended, format!("process {of_ended} has ended")),
        (thread, format!("{thread} is no process, but a thread of one")),
        (&"4194304".to_owned(), "there is no process 4194304".to_owned()),
        (&"0".to_owned(), "there is no process 0".to_owned()),
    ] {
        let done = zc.job(&["verify", "-p", &of_living, "-p", pid]).finish();
        assert_eq!((done.code(), done.stdout.as_slice()), (FAILED, &b""[..]), "{}", done.stderr);
        assert!(done.stderr.starts_with(&format!("zc: {message}")), "{}", done.stderr);
    }
    if fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd") {
        let done = zc.job(&["verify", "-p", "2"]).finish();
        assert!(
            done.code() == FAILED && done.stderr.contains("is a thread of the kernel"),
            "{}",
            done.stderr
        );
    }
    let own = format!("exec {} verify -p $$", zc.bin().display());
    let done = Job::new(&["sh", "-c", &own]).finish();
    assert!(done.code() == FAILED && done.stderr.contains("is zc itself"), "{}", done.stderr);
    // It is as it was.
    living.input(b"living\n");
    living.wait_for_output("living\n");
    assert!(ended.stdout_so_far().is_empty());
}

/// Threads begin and end while they are being counted, and none of that is taken for the end of the process.
#[test]
fn a_process_of_restless_threads_ends_when_its_last_one_does() {
    let Some(zc) = Zc::with(&[]) else { return };
    for _ in 0..10 {
        let mut restless = Job::new(&[env!("CARGO_BIN_EXE_zc-fixture"), "--churn"]).start();
        machine::wait_for("more than one thread", || {
            let threads = fs::read_dir(format!("/proc/{}/task", restless.pid())).ok()?;
            (threads.count() > 1).then_some(())
        });
        let watching = watch(&zc, &[&restless.pid().to_string()], &["--path", "tee"]);
        let stat = fs::read_to_string(format!("/proc/{}/stat", watching.running.pid())).expect("zc");
        assert!(!stat.contains(") Z "), "it watches");
        restless.signal(libc::SIGKILL);
        let answer = watching.finish(CANNOT_BE_DECIDED);
        nothing_lost(&answer);
        assert!(restless.stdout_so_far().is_empty());
    }
}

/// The thread takes over the id of the first one, which has ended by then.
#[test]
fn a_program_that_another_thread_than_the_first_runs_is_watched_to_its_end() {
    const EXEC: &str = "
import os, sys, threading
def run():
    print('ready', flush=True)
    os.read(0, 1)
    os.execv('/bin/cat', ['cat', sys.argv[1]])
threading.Thread(target=run).start()
";
    let Some(zc) = Zc::with(&[python(), "/bin/cat"]) else { return };
    let dir = machine::temp_dir();
    let input = machine::random_file(dir.path(), "in.bin", 300_007);
    let mut running = Job::new(&[python(), "-c", EXEC, &input]).with_input().start();
    running.wait_for_output("ready\n");
    let watching = watch(&zc, &[&running.pid().to_string()], &["--file", &input]);
    running.input(b"\n");
    assert!(running.finish().status.success());
    // Whether it reads and writes or has the kernel copy the file, is its own affair.
    let answer = watching.finish_with(&[DOES_NOT_HOLD, CANNOT_BE_DECIDED]);
    nothing_lost(&answer);
    assert_eq!(answer["selected"]["bytes"], 300_007, "{answer}");
    assert_eq!(answer["flows"][0]["comm"], "cat", "{answer}");
}

/// In a PID namespace of its own, a process is what it is called there; outside of it, what it is called outside.
#[test]
fn a_process_is_what_the_namespace_of_whoever_names_it_calls_it() {
    let Some(zc) = Zc::with(&["unshare", "sh", "cat"]) else { return };
    let dir = machine::temp_dir();
    let input = machine::random_file(dir.path(), "in.bin", 300_007);
    let path = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let (gate, answer) = (path("gate"), path("answer.json"));
    // The copier waits for the fifo, is watched, and copies when that is opened.
    let script = "
        mkfifo $2
        (read line < $2; exec cat $1) > /dev/null &
        $3 verify -p $! --file $1 --format json -o $4 2> $4.said &
        while ! grep -q watching $4.said; do sleep 0.05; done
        echo > $2
        wait $!
        echo code $?
    ";
    let zc_bin = zc.bin().to_str().expect("UTF-8");
    let words = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        script,
        "sh",
        &input,
        &gate,
        zc_bin,
        &answer,
    ];
    let done = Job::new(&words).finish();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains(&format!("code {DOES_NOT_HOLD}\n")), "{said}{}", done.stderr);
    let inside: Value = serde_json::from_str(&fs::read_to_string(&answer).expect("an answer")).expect("JSON");
    let pid = inside["pids"][0].as_u64().expect("an id");
    assert!(pid < 20, "{pid} is what the new namespace calls it");
    assert_eq!(inside["selected"]["bytes"], 300_007, "{inside}");

    // From outside.
    let words = ["unshare", "--pid", "--fork", "cat"];
    let mut running = Job::new(&words).with_input().start();
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let child = machine::wait_for("cat", || {
        let child = fs::read_to_string(&children).ok()?.trim().to_owned();
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "cat").then_some(child)
    });
    let watching = watch(&zc, &[&child], &[]);
    running.input(b"from outside\n");
    running.wait_for_output("from outside\n");
    let outside = watching.end(DOES_NOT_HOLD);
    assert_eq!(bytes(&outside, &["read+write"], child.parse().ok()), 13, "{outside}");
}
