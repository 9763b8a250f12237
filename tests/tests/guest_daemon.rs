//! `zc daemon` with all processes of a machine, which are ours in the virtual machines of `cargo xtask vm-test` alone; and on other
//! kernels.

use zc_tests::{
    daemon::{Daemon, counted, sum},
    fixtures::former::{CHILDREN, LEN},
    job::{Job, Running},
    machine::{self, wait_for},
    relay::wait_until_it_reads,
    zc::Zc,
};

const ALL: &str = "[select]\nall = true\n[account]\ninterval = \"500ms\"\nscan = \"200ms\"\n";

fn zc() -> Option<Zc> {
    if machine::require_guest() { Zc::with(&[]) } else { None }
}

/// A program of several threads and children that waits before it begins, and when it has done everything.
struct Former {
    running: Running,
    _dir: tempfile::TempDir,
}

impl Former {
    fn start() -> Self {
        let dir = machine::temp_dir();
        let words =
            [env!("CARGO_BIN_EXE_zc-fixture"), "--former", "calls", dir.path().to_str().expect("UTF-8")];
        let mut running = Job::new(&words).with_input().start();
        running.wait_for_output("ready\n");
        Self { running, _dir: dir }
    }

    fn go_on(&mut self) {
        self.running.input(b"\n");
        self.running.wait_for_output("done");
        wait_until_it_reads(self.running.pid());
    }
}

/// One that ran before the daemon, and one that came later; both are what the kernel counts.
#[test]
fn all_processes_of_a_machine_are_accounted_for() {
    let Some(zc) = zc() else { return };
    let mut before = Former::start();
    let daemon = Daemon::start(&zc, ALL);
    wait_for("the process that was there", || daemon.process(before.running.pid()));
    let mut later = Former::start();
    for former in [&mut before, &mut later] {
        let pid = former.running.pid();
        wait_for("the process", || daemon.process(pid));
        let first = counted(pid).expect("its counters");
        let seen = daemon.process(pid).expect("the process");
        let seen = (sum(&seen, "rchar_bytes"), sum(&seen, "wchar_bytes"));
        former.go_on();
        let last = counted(pid).expect("its counters");
        let process = daemon.process(pid).expect("the process");
        let now = (sum(&process, "rchar_bytes"), sum(&process, "wchar_bytes"));
        // What its children have read is added to its own counter when they have been waited for.
        let of_children = (CHILDREN.iter().sum::<usize>() * LEN) as u64;
        let moved = (last.0 - first.0 - of_children, last.1 - first.1);
        assert_eq!((now.0 - seen.0, now.1 - seen.1), moved, "{process}");
    }
    let report = daemon.get("/v1/report?max_age=0ms").json();
    let pids: Vec<_> =
        report["processes"].as_array().expect("processes").iter().map(|process| &process["pid"]).collect();
    assert!(pids.contains(&&1.into()), "the first process is one of all: {pids:?}");
    let own = daemon.get("/v1/health").json()["pid"].clone();
    assert!(!pids.contains(&&own), "zc does not account for itself");
    daemon.assert_nothing_lost();
    before.running.finish();
    later.running.finish();
    daemon.stop();
}

/// Names and rows are handed over and forgotten on this kernel, too.
#[test]
fn what_is_handed_over_is_counted_once() {
    let Some(zc) = zc() else { return };
    let daemon = Daemon::start(&zc, "[account]\ninterval = \"100ms\"\nscan = \"100ms\"\n");
    let mut former = Former::start();
    let pid = former.running.pid();
    daemon.trace(pid);
    let first = counted(pid).expect("its counters");
    former.go_on();
    let last = counted(pid).expect("its counters");
    let looks = || daemon.get("/v1/health").json()["looks"].as_u64().expect("looks");
    let now = looks();
    // More than the sweeps after which what nobody uses is forgotten.
    wait_for("some sweeps", || (looks() > now + 30).then_some(()));
    let process = daemon.process(pid).expect("the process");
    let of_children = (CHILDREN.iter().sum::<usize>() * LEN) as u64;
    let moved = (last.0 - first.0 - of_children, last.1 - first.1);
    assert_eq!((sum(&process, "rchar_bytes"), sum(&process, "wchar_bytes")), moved, "{process}");
    daemon.assert_nothing_lost();
    former.running.finish();
    daemon.stop();
}
