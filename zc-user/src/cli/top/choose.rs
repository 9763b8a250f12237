//! Whether the daemon traces what is chosen, and what of its report that is.

use std::collections::HashMap;

use crate::{
    daemon::select::{Candidate, Matcher, Selection},
    model::{Report, report::Process},
};

/// What is chosen and not traced by a daemon that traces `of_daemon`; `None` when it traces all of it. `report` is its last one.
pub(super) fn gap(choice: &Selection, of_daemon: &Selection, report: &Report) -> Option<String> {
    if of_daemon.all {
        return None;
    }
    if choice.all {
        return Some("every process".to_owned());
    }
    let lives =
        |pid: u32| report.processes.iter().any(|process| process.pid == pid && process.exit_code.is_none());
    if let Some(pid) = choice.pids.iter().find(|pid| !lives(**pid)) {
        return Some(format!("process {pid}"));
    }
    if let Some(comm) = choice.comms.difference(&of_daemon.comms).next() {
        return Some(format!("all processes that are called {comm}"));
    }
    // Users may have gone since it was started.
    let matcher = of_daemon.matcher().ok();
    let covers = |path: &str| {
        let anybody = Candidate { uid: u32::MAX, cgroup: Some(path.to_owned()), ..Candidate::default() };
        matcher.as_ref().is_some_and(|matcher| matcher.matches(&anybody))
    };
    choice.cgroups.iter().find(|path| !covers(path)).map(|path| format!("all of cgroup {path}"))
}

/// Keeps the processes that are chosen and, with `follow`, the children that they made.
pub(super) fn keep(report: &mut Report, choice: &Matcher, follow: bool) {
    if choice.selection().is_empty() {
        return;
    }
    // By id, the starts of those that are kept: ids are used again.
    let mut kept = HashMap::<u32, Vec<u64>>::new();
    let is_kept = |kept: &HashMap<u32, Vec<u64>>, process: &Process| {
        kept.get(&process.pid).is_some_and(|starts| starts.contains(&process.start_ns))
    };
    for process in report.processes.iter().filter(|process| choice.matches(&candidate(process))) {
        kept.entry(process.pid).or_default().push(process.start_ns);
    }
    // Children start after their parents, so one pass in that order finds those of all generations.
    let mut by_start: Vec<&Process> = report.processes.iter().collect();
    by_start.sort_by_key(|process| process.start_ns);
    for process in by_start.into_iter().filter(|_| follow) {
        let is_child = process.ppid.and_then(|ppid| kept.get(&ppid)).is_some_and(|starts| {
            // `0` is what starts are called that are not known.
            starts.iter().any(|start| *start <= process.start_ns)
        });
        if is_child && !is_kept(&kept, process) {
            kept.entry(process.pid).or_default().push(process.start_ns);
        }
    }
    report.keep(|process| is_kept(&kept, process));
}

fn candidate(process: &Process) -> Candidate {
    Candidate {
        pid: process.pid,
        comm: process.comm.clone().unwrap_or_default(),
        // None is chosen by it.
        uid: u32::MAX,
        cgroup: process.cgroup.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{account, fixture, report::ModeSwitches, report::Tool};

    fn process(pid: u32, ppid: u32, start_ns: u64, comm: &str) -> Process {
        Process {
            pid,
            ppid: Some(ppid),
            start_ns,
            comm: Some(comm.to_owned()),
            exe: None,
            cmdline: Vec::new(),
            cgroup: Some("/a/b".to_owned()),
            container: None,
            exit_code: None,
            syscalls: None,
            mode_switches: ModeSwitches::default(),
            context_switches: None,
            page_faults: None,
            device_read_bytes: None,
            paths: Vec::new(),
        }
    }

    fn report(processes: Vec<Process>) -> Report {
        let mut report = account::account(&fixture::samples(), Tool { version: String::new(), commit: None });
        report.processes = processes;
        report
    }

    fn pids(pids: &[u32]) -> Selection {
        Selection { pids: pids.iter().copied().collect(), ..Selection::default() }
    }

    fn kept(choice: &Selection, follow: bool) -> Vec<u32> {
        // The last one has the id of the parent that was there before the chosen one.
        let mut report = report(vec![
            process(9, 8, 30, "grandchild"),
            process(7, 1, 10, "sh"),
            process(8, 7, 20, "child"),
            process(5, 1, 15, "other"),
            process(6, 7, 5, "of another 7"),
        ]);
        keep(&mut report, &choice.matcher().expect("a choice"), follow);
        report.processes.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn children_go_with_their_parents() {
        assert_eq!(kept(&pids(&[7]), true), [9, 7, 8]);
        assert_eq!(kept(&pids(&[7]), false), [7]);
        assert_eq!(kept(&Selection::default(), true).len(), 5);
        let of_cgroup = Selection { cgroups: ["/a".to_owned()].into(), ..Selection::default() };
        assert_eq!(kept(&of_cgroup, false).len(), 5);
        let by_name = Selection { comms: ["other".to_owned()].into(), ..Selection::default() };
        assert_eq!(kept(&by_name, true), [5]);
    }

    #[test]
    fn a_daemon_is_asked_for_what_it_traces_alone() {
        let ended = Process { exit_code: Some(0), ..process(8, 1, 1, "cat") };
        let report = report(vec![process(7, 1, 1, "cat"), ended]);
        let of_daemon = Selection {
            comms: ["cat".to_owned()].into(),
            cgroups: ["/a".to_owned()].into(),
            units: ["x.service".to_owned()].into(),
            ..Selection::default()
        };
        let all = Selection { all: true, ..Selection::default() };
        let comm = |name: &str| Selection { comms: [name.to_owned()].into(), ..Selection::default() };
        let cgroup = |path: &str| Selection { cgroups: [path.to_owned()].into(), ..Selection::default() };
        for (choice, missing) in [
            (Selection::default(), None),
            (pids(&[7]), None),
            (pids(&[7, 8]), Some("process 8")),
            (comm("cat"), None),
            (comm("dog"), Some("all processes that are called dog")),
            (cgroup("/a/b"), None),
            (cgroup("/system.slice/x.service"), None),
            (cgroup("/"), Some("all of cgroup /")),
            (all.clone(), Some("every process")),
        ] {
            assert_eq!(gap(&choice, &of_daemon, &report).as_deref(), missing, "{choice:?}");
            assert_eq!(gap(&choice, &all, &report), None);
        }
    }
}
