//! `zc top`: what it shows of processes, through a daemon and by programs of its own, and how it ends.

use serde_json::Value;
use zc_tests::{
    daemon::{Daemon, counted},
    job::{Done, Job, Running},
    machine::{self, python, wait_for},
    relay::{Relay, wait_until_it_reads},
    zc::Zc,
};

/// `zc top` with these words, when it has begun.
fn start(zc: &Zc, words: &[&str]) -> Running {
    let words: Vec<_> = ["top"].iter().chain(words).copied().collect();
    let mut top = zc.job(&words).start();
    top.wait_for_error("zc: watching ");
    top
}

/// Whole lines so far.
fn lines(top: &mut Running) -> usize {
    String::from_utf8_lossy(&top.stdout_so_far()).matches('\n').count()
}

fn intervals(done: &Done) -> Vec<Value> {
    let text = done.stdout_text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn processes(interval: &Value) -> &Vec<Value> {
    interval["processes"].as_array().expect("processes")
}

/// The sum of a change of one process over all intervals.
fn sum(intervals: &[Value], pid: i32, number: &str) -> i64 {
    let of_process = intervals.iter().flat_map(processes).filter(|process| process["pid"] == pid);
    of_process.map(|process| process["changes"][number].as_i64().unwrap_or(0)).sum()
}

/// Everything that is less than nothing, or shown as a rate that is not what changed.
fn check_rates(interval: &Value) {
    let seconds = interval["seconds"].as_f64().expect("seconds");
    let rows = processes(interval).iter().flat_map(|process| process["paths"].as_array().expect("rows"));
    for figures in processes(interval).iter().chain(rows).chain([&interval["total"]]) {
        for (name, change) in figures["changes"].as_object().expect("changes") {
            let rate = &figures["rates"][format!("{name}_per_second")];
            let (Some(rate), Some(change)) = (rate.as_f64(), change.as_i64()) else {
                assert!(rate.is_null() && change.is_null(), "{name}: {figures}");
                continue;
            };
            assert!(rate >= 0.0 && rate * seconds <= change.max(0) as f64 + 0.5, "{name}: {figures}");
        }
    }
}

/// Watches a relay that is told to go three times, and compares with the kernel's own counters.
fn sums_are_what_the_kernel_counts(zc: &Zc, words: &[&str], relay: &mut Relay) {
    let pid = relay.pid().to_string();
    let mut top = start(zc, &[words, &["--format", "json", "-p", &pid, "200ms"]].concat());
    let before = counted(relay.pid()).expect("its counters");
    for _ in 0..3 {
        relay.go_and_wait();
    }
    let after = counted(relay.pid()).expect("its counters");
    // The interval that is under way is over, and another one for certain.
    let seen = lines(&mut top);
    wait_for("two more intervals", || (lines(&mut top) >= seen + 2).then_some(()));
    top.signal(libc::SIGINT);
    let done = top.finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let intervals = intervals(&done);
    for interval in &intervals {
        assert_eq!((&interval["schema"], &interval["lost"]), (&"zc.top/1".into(), &serde_json::json!({})));
        check_rates(interval);
    }
    let pid = relay.pid();
    let own = (sum(&intervals, pid, "rchar_bytes"), sum(&intervals, pid, "wchar_bytes"));
    let counted = (after.0 - before.0, after.1 - before.1);
    assert_eq!((own.0.unsigned_abs(), own.1.unsigned_abs()), counted, "{own:?}");
    let pairs: i64 = intervals
        .iter()
        .flat_map(processes)
        .flat_map(|process| process["paths"].as_array().expect("rows"))
        .filter(|row| row["path"] == "read+write")
        .map(|row| row["changes"]["bytes"].as_i64().expect("bytes"))
        .sum();
    assert_eq!(pairs, 3 * 3 * 3000 * 4096);
}

#[test]
fn what_it_shows_by_itself_adds_up_to_what_the_kernel_counts() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut relay = Relay::start(3, 3000);
    sums_are_what_the_kernel_counts(&zc, &["--no-daemon"], &mut relay);
    relay.finish();
}

#[test]
fn what_it_shows_through_a_daemon_adds_up_to_what_the_kernel_counts() {
    let Some(zc) = Zc::with(&[]) else { return };
    let daemon = Daemon::start(&zc, "[account]\ninterval = \"300ms\"\nscan = \"100ms\"");
    let mut relay = Relay::start(3, 3000);
    daemon.trace(relay.pid());
    let socket = daemon.socket();
    sums_are_what_the_kernel_counts(&zc, &["--socket", socket.to_str().expect("UTF-8")], &mut relay);
    relay.finish();
    daemon.stop();
}

#[test]
fn it_ends_after_so_many_intervals_in_each_form() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut relay = Relay::start(1, 100);
    let pid = relay.pid().to_string();
    for form in ["table", "json", "csv"] {
        let mut top =
            start(&zc, &["--no-daemon", "--count-calls", "--format", form, "-p", &pid, "300ms", "3"]);
        relay.go_and_wait();
        wait_for("the first interval", || (lines(&mut top) > usize::from(form == "csv")).then_some(()));
        let done = top.finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        let text = done.stdout_text();
        assert!(text.lines().all(|line| form != "table" || line.chars().count() <= 100), "{text}");
        match form {
            "table" => assert_eq!(text.matches("per second over 0.").count(), 3, "{text}"),
            "json" => assert_eq!(intervals(&done).len(), 3, "{text}"),
            _ => assert!(text.starts_with("end,seconds,pid,") && text.contains(",read+write,"), "{text}"),
        }
        assert!(text.contains("read+write"), "{text}");
    }
    // Nobody reads: that is an end, and no error.
    let command = format!("\"$0\" top --no-daemon -p {pid} 100ms | head -n 1");
    let done = Job::new(&["sh", "-c", &command, zc.bin().to_str().expect("UTF-8")]).finish();
    assert!(done.code() == 0 && !done.stderr.contains("zc: cannot"), "{}", done.stderr);
    relay.finish();
}

#[test]
fn a_process_that_ends_is_shown_once_and_ends_what_was_for_it_alone() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    let mut cat = Job::new(&["cat"]).with_input().start();
    let (id, pid) = (cat.pid(), cat.pid().to_string());
    let daemon = Daemon::start(&zc, "[account]\nscan = \"100ms\"");
    daemon.trace(cat.pid());
    let socket = daemon.socket();
    let mut through =
        start(&zc, &["--socket", socket.to_str().expect("UTF-8"), "--format", "json", "-p", &pid, "200ms"]);
    let mut own = start(&zc, &["--no-daemon", "--count-calls", "--format", "json", "-p", &pid, "200ms"]);
    cat.input(b"text");
    cat.wait_for_output("text");
    for top in [&mut through, &mut own] {
        let seen = lines(top);
        wait_for("two intervals", || (lines(top) >= seen + 2).then_some(()));
    }
    cat.finish();
    for top in [through, own] {
        let done = top.finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        let intervals = intervals(&done);
        let ends: Vec<_> =
            intervals.iter().flat_map(processes).filter(|process| process["ended"] == true).collect();
        assert_eq!(ends.len(), 1, "{ends:?}");
        assert_eq!((&ends[0]["exit_code"], &ends[0]["pid"]), (&0.into(), &id.into()));
        assert_eq!((sum(&intervals, id, "rchar_bytes"), sum(&intervals, id, "wchar_bytes")), (4, 4));
    }
    daemon.stop();
}

#[test]
fn children_are_shown_and_processes_that_begin_later_are_found_by_name() {
    let Some(zc) = Zc::with(&["cat", "sh"]) else { return };
    let dir = machine::temp_dir();
    let named = dir.path().join("zc-top-cat");
    std::fs::copy(machine::find_program("cat").expect("cat"), &named).expect("a copy of cat");
    let named = named.to_str().expect("UTF-8").to_owned();
    let mut top =
        start(&zc, &["--no-daemon", "--count-calls", "--comm", "zc-top-cat", "--format", "json", "200ms"]);
    let mut cat = Job::new(&["sh", "-c", &format!("{named}; true")]).with_input().start();
    // It is looked for once a second.
    wait_for("it to be seen", || {
        cat.input(b"text");
        String::from_utf8_lossy(&top.stdout_so_far()).contains("zc-top-cat").then_some(())
    });
    cat.finish();
    top.signal(libc::SIGTERM);
    assert_eq!(top.finish().code(), 0);
    let mut shell = Job::new(&["sh", "-c", "read line; cat; true"]).with_input().start();
    wait_until_it_reads(shell.pid());
    let top = start(
        &zc,
        &["--no-daemon", "--count-calls", "-p", &shell.pid().to_string(), "--format", "json", "200ms"],
    );
    shell.input(b"\nmore");
    shell.wait_for_output("more");
    shell.finish();
    let done = top.finish();
    assert_eq!(done.code(), 0);
    let of_child = |process: &&Value| process["comm"] == "cat" && process["ended"] == true;
    assert_eq!(intervals(&done).iter().flat_map(processes).filter(of_child).count(), 1);
}

#[test]
fn a_daemon_that_is_stopped_ends_it_with_a_word() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    let daemon = Daemon::start(&zc, "");
    let socket = daemon.socket();
    let mut top = start(&zc, &["--socket", socket.to_str().expect("UTF-8"), "200ms"]);
    wait_for("an interval", || (lines(&mut top) > 0).then_some(()));
    daemon.stop();
    let done = top.finish();
    assert_eq!(done.code(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("zc: the daemon does not answer any more: "), "{}", done.stderr);
}

#[test]
fn a_daemon_that_is_started_again_is_followed() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    let settings = "[account]\nscan = \"100ms\"";
    let daemon = Daemon::start(&zc, settings);
    let mut cat = Job::new(&["cat"]).with_input().start();
    daemon.trace(cat.pid());
    let socket = daemon.socket();
    let mut top = start(&zc, &["--socket", socket.to_str().expect("UTF-8"), "--format", "json", "200ms"]);
    wait_for("an interval", || (lines(&mut top) > 0).then_some(()));
    // So that it does not ask while there is none.
    top.signal(libc::SIGSTOP);
    let daemon = Daemon::start_in(&zc, settings, daemon.kill());
    daemon.trace(cat.pid());
    cat.input(b"text");
    cat.wait_for_output("text");
    top.signal(libc::SIGCONT);
    let seen = lines(&mut top);
    wait_for("two intervals", || (lines(&mut top) >= seen + 2).then_some(()));
    top.signal(libc::SIGINT);
    let done = top.finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let intervals = intervals(&done);
    let said = |interval: &&Value| interval["notes"].to_string().contains("started again");
    assert_eq!(intervals.iter().filter(said).count(), 1);
    assert_eq!(
        (sum(&intervals, cat.pid(), "rchar_bytes"), sum(&intervals, cat.pid(), "wchar_bytes")),
        (4, 4)
    );
    cat.finish();
    daemon.stop();
}

#[test]
fn what_a_daemon_does_not_trace_is_traced_without_it() {
    let Some(zc) = Zc::with(&["cat"]) else { return };
    let daemon = Daemon::start(&zc, "");
    let socket = daemon.socket();
    let socket = socket.to_str().expect("UTF-8");
    let cat = Job::new(&["cat"]).with_input().start();
    let pid = cat.pid().to_string();
    let done = zc.job(&["top", "--socket", socket, "-p", &pid, "--format", "json", "100ms", "1"]).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let said = format!("zc: the daemon does not trace process {pid}; zc traces what was chosen itself\n");
    assert!(done.stderr.starts_with(&said), "{}", done.stderr);
    assert_eq!(intervals(&done)[0]["source"], "own");
    cat.finish();
    daemon.stop();
}

#[test]
fn whoever_says_too_little_is_told_what_to_say() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let socket = dir.path().join("none.sock");
    let socket = socket.to_str().expect("UTF-8");
    for words in [&["top", "--socket", socket][..], &["top", "--no-daemon"]] {
        let done = zc.job(words).finish();
        assert_eq!(done.code(), 2, "{}", done.stderr);
        assert!(done.stderr.contains("-p PID") && done.stdout.is_empty(), "{}", done.stderr);
    }
    let done = zc.job(&["top", "--no-daemon", "--cgroup", "x"]).finish();
    assert_eq!(done.code(), 2, "{}", done.stderr);
    let done = zc.job(&["top", "--no-daemon", "-p", "4194304"]).finish();
    assert_eq!((done.code(), done.stderr.as_str()), (1, "zc: there is no process 4194304\n"));
    if machine::require_cmd("setpriv") {
        let bin = machine::temp_dir();
        let own = bin.path().join("zc");
        std::fs::copy(zc.bin(), &own).expect("a copy of zc");
        let words =
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", own.to_str().expect("UTF-8"), "top"];
        let done = Job::new(&[&words[..], &["--no-daemon", "--all", "100ms", "1"]].concat()).finish();
        assert_eq!(done.code(), 4, "{}", done.stderr);
    }
}

/// Runs a command on a terminal of 80 columns and 24 lines, types keys when it has drawn so often, and says how things were after.
const TERMINAL: &str = r#"
import fcntl, json, os, pty, select, signal, struct, subprocess, sys, termios, time
keys, *command = sys.argv[1:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
before = termios.tcgetattr(slave)
def session():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, preexec_fn=session)
output = b""
drawn = 0
end = time.monotonic() + 100
during = None
while time.monotonic() < end:
    if select.select([master], [], [], 0.05)[0]:
        output += os.read(master, 65536)
    elif child.poll() is not None:
        break
    # The first drawing says that it has begun.
    if output.count(b"\x1b[H") > drawn + 1:
        drawn = output.count(b"\x1b[H") - 1
        during = during or termios.tcgetattr(slave)
        if keys.startswith("^"):
            os.kill(child.pid, int(keys[1:]))
            keys = ""
        elif keys:
            os.write(master, keys[:1].encode())
            keys = keys[1:]
after = termios.tcgetattr(slave)
print(json.dumps({"code": child.poll(), "same": before == after, "raw": during != before, "output": output.decode()}))
child.kill()
"#;

fn on_terminal(zc: &Zc, keys: &str, words: &[&str]) -> Value {
    let bin = zc.bin().to_str().expect("UTF-8");
    let words: Vec<_> = [python(), "-c", TERMINAL, keys, bin, "top"].iter().chain(words).copied().collect();
    let done = Job::new(&words).env("TERM", "xterm").env("LC_ALL", "C.UTF-8").finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    serde_json::from_slice(&done.stdout).expect("JSON")
}

/// What takes columns of it.
fn visible(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end =
            part.find(|character: char| character.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        text.push_str(&part[end..]);
    }
    text
}

#[test]
fn a_terminal_is_drawn_on_within_its_size_and_left_as_it_was() {
    let Some(zc) = Zc::with(&["sh"]) else { return };
    let busy =
        Job::new(&["sh", "-c", "while :; do head -c 100000 /dev/zero | cat > /dev/null; done"]).start();
    let pid = busy.pid().to_string();
    // SIGINT, SIGTERM and SIGHUP; the keys of all that can be done; Ctrl-C.
    for (keys, options) in [
        ("^2", &[][..]),
        ("^15", &["--color", "never"]),
        ("^1", &["-v"]),
        ("sbb  ssq", &[]),
        ("\u{3}", &["--by", "process"]),
    ] {
        let ended = on_terminal(
            &zc,
            keys,
            &[options, &["--no-daemon", "--count-calls", "-p", &pid, "300ms"]].concat(),
        );
        let output = ended["output"].as_str().expect("output");
        assert_eq!(
            (&ended["code"], &ended["same"], &ended["raw"]),
            (&0.into(), &true.into(), &true.into()),
            "{keys:?}: {output}"
        );
        let (entered, rest) = output.split_once("\u{1b}[?1049h\u{1b}[?25l").expect("another screen");
        let (drawn, left) = rest.split_once("\u{1b}[?25h\u{1b}[?1049l").expect("the first one");
        assert!(entered.is_empty() && left.is_empty(), "{entered:?} {left:?}");
        assert_eq!(drawn.contains("\u{1b}[2m"), options != ["--color", "never"], "{drawn}");
        let screens: Vec<_> = drawn.split("\u{1b}[H").skip(1).collect();
        assert!(screens.len() > 1 && screens[1].contains("VERDICT"), "{screens:?}");
        for screen in screens {
            let lines: Vec<_> = screen.split("\r\n").map(visible).collect();
            assert!(lines.len() <= 24, "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
        }
    }
}
