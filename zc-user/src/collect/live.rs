//! Counters of threads that still live, from /proc.

use std::{fs, os::unix::fs::MetadataExt as _};

use zc_common::row::Costs;

/// What the kernel has counted for a thread since it started; `None` when it has ended, even if its parent does
/// not know yet.
pub(super) fn thread_costs(tgid: u32, tid: u32) -> Option<Costs> {
    if !sees_all_processes() {
        return None;
    }
    let directory = format!("/proc/{tgid}/task/{tid}");
    let stat = fs::read_to_string(format!("{directory}/stat")).ok()?;
    let status = fs::read_to_string(format!("{directory}/status")).ok()?;
    let (minor, major) = faults(&stat).filter(|_| !has_ended(&stat))?;
    let (voluntary, involuntary) = switches(&status)?;
    Some(Costs { voluntary, involuntary, minor, major, ..Costs::NONE })
}

/// Bytes that storage delivered for a thread since it started; `None` where that is not counted or may not be seen.
pub(super) fn read_bytes(tgid: u32, tid: u32) -> Option<u64> {
    storage(&fs::read_to_string(format!("/proc/{tgid}/task/{tid}/io")).ok()?)
}

/// From `proc_pid_io(5)`.
fn storage(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("read_bytes:")?.trim().parse().ok())
}

/// The threads of a process.
pub(super) fn threads(tgid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{tgid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process exists, or is at least not yet waited for.
pub(super) fn exists(tgid: u32) -> bool {
    !sees_all_processes() || fs::exists(format!("/proc/{tgid}")).unwrap_or(false)
}

/// Whether the ids in /proc are those that the kernel programs see, those of the initial PID namespace.
fn sees_all_processes() -> bool {
    // `PROC_PID_INIT_INO` in include/linux/proc_ns.h.
    const INITIAL: u64 = 0xEFFF_FFFC;
    fs::metadata("/proc/self/ns/pid").is_ok_and(|metadata| metadata.ino() == INITIAL)
}

/// Field 3 of `proc_pid_stat(5)` says that the thread is a zombie, or less.
fn has_ended(stat: &str) -> bool {
    let state = stat.rfind(')').and_then(|end| stat.get(end + 2..)?.chars().next());
    matches!(state, Some('Z' | 'X' | 'x') | None)
}

/// Fields 10 and 12 of `proc_pid_stat(5)`, counted from behind the command's name, which may hold anything.
fn faults(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some((minor, major))
}

fn switches(status: &str) -> Option<(u64, u64)> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((field("voluntary_ctxt_switches:")?, field("nonvoluntary_ctxt_switches:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_behind_any_name() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 111 222 333 444 5 6 7 8 20 0 1 0 99 1000 10";
        assert_eq!(faults(stat), Some((111, 333)));
        assert_eq!(faults("42 (cut"), None);
        assert!(!has_ended(stat));
        assert!(has_ended("42 (a) b) Z 1 42") && has_ended("42 (cut"));
    }

    #[test]
    fn switches_are_found_by_name() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(switches(status), Some((7, 9)));
        assert_eq!(switches("Name:\tx\n"), None);
    }

    #[test]
    fn storage_is_found_by_name() {
        assert_eq!(storage("rchar: 1\nsyscr: 2\nread_bytes: 4096\nwrite_bytes: 8\n"), Some(4096));
        assert_eq!(storage("rchar: 1\n"), None);
    }

    #[test]
    fn this_process_has_counters() {
        let costs = thread_costs(std::process::id(), std::process::id()).expect("this thread's");
        assert!(costs.minor > 0);
        assert!(threads(std::process::id()).contains(&std::process::id()));
        assert!(exists(std::process::id()));
    }
}
