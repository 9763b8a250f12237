//! A lab's findings for tests: processes that are made up, with known numbers.

use std::collections::BTreeMap;

use zc_common::path::{Kind, Path};

use super::{measure::Names, plan::Step, worker};
use crate::model::{
    account::account,
    fixture::{figures, samples},
    report::{ContextSwitches, End, Flow, ModeSwitches, PageFaults, Process, Report, Tool, Via},
};

/// The step of a name.
pub(super) fn step(tag: &str) -> Step {
    Step::of(tag).unwrap_or_else(|| panic!("{tag}"))
}

pub(super) fn names() -> Names {
    Names { source: "/lab/source.bin".into(), destination: "/lab/destination.bin".into() }
}

/// A report without processes.
pub(super) fn empty() -> Report {
    account(&samples(), Tool { version: "1.0.0".into(), commit: None })
}

/// The process of a step, with its calls, its faults in user mode, and minor and major faults of all.
pub(super) fn process(pid: u32, step: &Step, calls: u64, user_faults: u64, faults: (u64, u64)) -> Process {
    Process {
        pid,
        ppid: None,
        start_ns: u64::from(pid),
        comm: Some("exe".into()),
        exe: None,
        cmdline: vec!["/proc/self/exe".into(), worker::NAME.into(), "step".into(), step.tag()],
        cgroup: None,
        container: None,
        exit_code: Some(0),
        syscalls: Some(calls),
        mode_switches: ModeSwitches {
            syscall: Some(2 * calls),
            exception: Some(2 * user_faults),
            interrupt: None,
        },
        context_switches: Some(ContextSwitches { voluntary: 0, involuntary: 0 }),
        page_faults: Some(PageFaults { minor: faults.0, major: faults.1, copy_on_write: None }),
        device_read_bytes: None,
        paths: Vec::new(),
    }
}

/// A flow of a process; `copied` of nothing is not known.
pub(super) fn flow(
    pid: u32,
    path: Path,
    source: (Kind, &str),
    destination: (Kind, &str),
    bytes: u64,
    copied: Option<u64>,
) -> Flow {
    let end = |(kind, name): (Kind, &str)| End {
        kind,
        name: (!name.is_empty()).then(|| name.to_owned()),
        local: None,
    };
    Flow {
        pid,
        start_ns: u64::from(pid),
        path,
        via: Via::Syscall,
        source: end(source),
        destination: end(destination),
        figures: figures(bytes, copied, None, if copied.is_some() { 0 } else { bytes }),
    }
}

/// Nothing beside the report.
pub(super) fn no_facts() -> BTreeMap<String, u64> {
    BTreeMap::new()
}
