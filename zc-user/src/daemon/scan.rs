//! Finding processes that are chosen among those that run.
//!
//! A process that was looked at is looked at again a few times, as it may exec, and from then on with every thirtieth look only: on a
//! host with ten thousand processes, reading about each of them once a second would be the dearest thing that zc does.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::select::{Candidate, Matcher};
use crate::collect::attached;

/// Looks at a new process, one with each scan.
const YOUNG: u32 = 5;
/// All processes are looked at with every so many scans.
const ALL_EVERY: u32 = 30;

/// What was looked at.
#[derive(Debug)]
pub struct Scanner {
    proc: PathBuf,
    own: u32,
    looks: HashMap<u32, u32>,
    scans: u32,
}

impl Scanner {
    /// Of this machine; processes are those of the PID namespace that /proc was mounted in.
    pub fn new() -> Self {
        Self::at(Path::new("/proc"), std::process::id())
    }

    /// Of what looks like /proc, for a process of this id.
    pub fn at(proc: &Path, own: u32) -> Self {
        Self { proc: proc.to_owned(), own, looks: HashMap::new(), scans: 0 }
    }

    /// Looks at every process again with the next scan, for a new choice.
    pub fn begin_anew(&mut self) {
        self.looks.clear();
    }

    /// Processes that are chosen and were not looked at lately. They may be traced already, and may have ended.
    pub fn scan(&mut self, matcher: &Matcher) -> Vec<u32> {
        if matcher.selection().is_empty() {
            return Vec::new();
        }
        let all = self.scans.is_multiple_of(ALL_EVERY);
        self.scans = self.scans.wrapping_add(1);
        let mut looks = HashMap::with_capacity(self.looks.len());
        let mut chosen = Vec::new();
        for pid in self.pids() {
            let before = self.looks.get(&pid).copied().unwrap_or(0);
            if pid == self.own || before >= YOUNG && !all {
                looks.insert(pid, before);
                continue;
            }
            looks.insert(pid, before.saturating_add(1).min(YOUNG));
            if self.candidate(pid).is_some_and(|candidate| matcher.matches(&candidate)) {
                chosen.push(pid);
            }
        }
        self.looks = looks;
        chosen
    }

    fn pids(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.proc) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// What a process is called; `None` when it has ended, or is one of the kernel's own threads.
    fn candidate(&self, pid: u32) -> Option<Candidate> {
        let file = |name: &str| fs::read(self.proc.join(pid.to_string()).join(name)).ok();
        let status = String::from_utf8_lossy(&file("status")?).into_owned();
        // These have no memory, and so have processes that ended.
        if !status.lines().any(|line| line.starts_with("VmSize:")) {
            return None;
        }
        let comm = file("comm")?;
        let cgroup = file("cgroup").unwrap_or_default();
        Some(Candidate {
            pid,
            comm: String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned(),
            uid: uid(&status)?,
            cgroup: attached::cgroup(&String::from_utf8_lossy(&cgroup)),
        })
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

/// The real user id in `proc_pid_status(5)`.
fn uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::select::Selection;

    /// A process in a directory that looks like /proc.
    fn put(proc: &Path, pid: u32, comm: &str, uid: u32) {
        let dir = proc.join(pid.to_string());
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("comm"), format!("{comm}\n")).expect("a file");
        fs::write(dir.join("status"), format!("Name:\t{comm}\nUid:\t{uid}\t0\t0\t0\nVmSize:\t 1 kB\n"))
            .expect("a file");
        fs::write(dir.join("cgroup"), "0::/system.slice/x.service\n").expect("a file");
    }

    fn matcher(comm: &str) -> Matcher {
        let selection = Selection { comms: [comm.to_owned()].into(), ..Selection::default() };
        selection.matcher().expect("a choice")
    }

    #[test]
    fn processes_are_found_by_what_proc_says() {
        let proc = tempfile::tempdir().expect("a directory");
        put(proc.path(), 7, "cat", 1000);
        put(proc.path(), 8, "dog", 1000);
        put(proc.path(), 9, "cat", 0);
        fs::write(proc.path().join("9/status"), "Name:\tcat\nUid:\t0\n").expect("a thread of the kernel");
        fs::create_dir(proc.path().join("10")).expect("a process that has ended");
        fs::create_dir(proc.path().join("self")).expect("none");
        let mut scanner = Scanner::at(proc.path(), 1);
        assert_eq!(scanner.scan(&matcher("cat")), [7]);
        let by = |selection: Selection| {
            let mut found = Scanner::at(proc.path(), 8).scan(&selection.matcher().expect("a choice"));
            found.sort_unstable();
            found
        };
        assert_eq!(by(Selection { users: ["1000".to_owned()].into(), ..Selection::default() }), [7]);
        assert_eq!(by(Selection { units: ["x".to_owned()].into(), ..Selection::default() }), [7]);
        assert_eq!(by(Selection { all: true, ..Selection::default() }), [7], "8 is zc itself");
    }

    #[test]
    fn a_process_that_execs_early_or_much_later_is_found() {
        let proc = tempfile::tempdir().expect("a directory");
        put(proc.path(), 7, "sh", 0);
        let mut scanner = Scanner::at(proc.path(), 1);
        assert!(scanner.scan(&matcher("cat")).is_empty());
        put(proc.path(), 7, "cat", 0);
        assert_eq!(scanner.scan(&matcher("cat")), [7]);
        put(proc.path(), 7, "sh", 0);
        for _ in 0..YOUNG {
            scanner.scan(&matcher("cat"));
        }
        put(proc.path(), 7, "cat", 0);
        let found = (0..ALL_EVERY).filter(|_| !scanner.scan(&matcher("cat")).is_empty()).count();
        assert_eq!(found, 1);
        scanner.begin_anew();
        assert_eq!(scanner.scan(&matcher("cat")), [7], "a new choice looks at all");
    }

    #[test]
    fn this_machine_is_not_looked_at_for_nothing() {
        let mut scanner = Scanner::new();
        assert!(scanner.scan(&Matcher::default()).is_empty() && scanner.looks.is_empty());
    }
}
