//! The report as its contract has it. A key that is missing is an error, a value that is absent is `null`.
#![allow(missing_docs, reason = "the fields are the contract's; docs/output.md says what each means")]

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::expect::Kind;

/// Makes an optional value's key compulsory.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Every loss that can be declared, zero or not.
pub const LOST: [&str; 17] = [
    "ring_full",
    "rows_full",
    "threads_full",
    "objects_full",
    "pairs_evicted",
    "pairs_truncated",
    "flows_overflow",
    "iov_unread",
    "compat_calls",
    "mappings_unread",
    "faults_unread",
    "transmissions_unmatched",
    "pipes_unmatched",
    "ring_unseen",
    "aio_unread",
    "zerocopy_unmatched",
    "missed_runs",
];

#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    pub schema: String,
    pub tool: Tool,
    pub host: Host,
    pub window: Window,
    pub hooks: Vec<Hook>,
    #[serde(deserialize_with = "present")]
    pub sampling: Option<Sampling>,
    pub lost: BTreeMap<String, u64>,
    #[serde(rename = "self")]
    pub own_cost: OwnCost,
    pub processes: Vec<Process>,
    pub flows: Vec<Flow>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Tool {
    pub version: String,
    #[serde(deserialize_with = "present")]
    pub commit: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub arch: String,
    pub hostname: String,
    pub cpus: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Window {
    pub start: String,
    pub seconds: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Sampling {
    pub connections_one_in: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Hook {
    pub name: String,
    #[serde(deserialize_with = "present")]
    pub method: Option<String>,
    pub status: String,
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct OwnCost {
    #[serde(deserialize_with = "present")]
    pub bpf_runs: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub bpf_ns: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub cpu_seconds: Option<f64>,
    #[serde(deserialize_with = "present")]
    pub rss_bytes: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    pub pid: u32,
    #[serde(deserialize_with = "present")]
    pub ppid: Option<u32>,
    pub start_ns: u64,
    pub comm: String,
    #[serde(deserialize_with = "present")]
    pub exe: Option<String>,
    #[serde(deserialize_with = "present")]
    pub cmdline: Option<Vec<String>>,
    #[serde(deserialize_with = "present")]
    pub cgroup: Option<String>,
    #[serde(deserialize_with = "present")]
    pub container: Option<String>,
    #[serde(deserialize_with = "present")]
    pub exit_code: Option<i32>,
    #[serde(deserialize_with = "present")]
    pub syscalls: Option<u64>,
    pub mode_switches: ModeSwitches,
    pub context_switches: ContextSwitches,
    pub page_faults: PageFaults,
    #[serde(deserialize_with = "present")]
    pub device_read_bytes: Option<u64>,
    pub paths: Vec<Row>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ModeSwitches {
    #[serde(deserialize_with = "present")]
    pub syscall: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub exception: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub interrupt: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ContextSwitches {
    #[serde(deserialize_with = "present")]
    pub voluntary: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub involuntary: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct PageFaults {
    #[serde(deserialize_with = "present")]
    pub minor: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub major: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub copy_on_write: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    pub path: String,
    pub via: String,
    pub source: Kind,
    pub destination: Kind,
    pub transfers: u64,
    pub syscalls: u64,
    pub bytes: u64,
    #[serde(deserialize_with = "present")]
    pub cpu_copied_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub by_reference_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub unknown_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub device_read_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub device_sent_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub mode_switches: Option<u64>,
    pub context_switches: ContextSwitches,
    pub page_faults: PageFaults,
    #[serde(deserialize_with = "present")]
    pub seconds: Option<f64>,
    pub verdict: String,
    pub evidence: String,
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
    pub rchar_bytes: u64,
    pub wchar_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Flow {
    pub pid: u32,
    pub path: String,
    pub via: String,
    pub source: End,
    pub destination: End,
    pub bytes: u64,
    pub transfers: u64,
    pub syscalls: u64,
    #[serde(deserialize_with = "present")]
    pub cpu_copied_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub by_reference_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub unknown_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub device_read_bytes: Option<u64>,
    #[serde(deserialize_with = "present")]
    pub mode_switches: Option<u64>,
    pub page_faults: PageFaults,
    pub verdict: String,
    pub evidence: String,
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct End {
    pub kind: Kind,
    #[serde(deserialize_with = "present")]
    pub name: Option<String>,
    #[serde(deserialize_with = "present")]
    pub local: Option<String>,
}

impl Report {
    /// Reads a report and holds it to the parts of the contract that every report has.
    pub fn parse(json: &[u8]) -> Self {
        let report: Self = serde_json::from_slice(json)
            .unwrap_or_else(|error| panic!("not a report: {error}\n{}", String::from_utf8_lossy(json)));
        assert_eq!(report.schema, "zc.report/1");
        for name in LOST {
            assert!(report.lost.contains_key(name), "the loss counter {name} is not in the report");
        }
        report
    }

    /// Bytes that all processes moved by calls along a path between ends of two kinds.
    pub fn bytes(&self, path: &str, source: Kind, destination: Kind) -> u64 {
        self.processes.iter().map(|process| process.bytes(path, source, destination)).sum()
    }

    /// The one process with this id.
    pub fn process(&self, pid: u32) -> &Process {
        let found: Vec<_> = self.processes.iter().filter(|process| process.pid == pid).collect();
        assert_eq!(found.len(), 1, "processes with id {pid} among {:?}", self.pids());
        found[0]
    }

    /// The one process that was started with this name and is no other's image before its exec.
    pub fn named(&self, comm: &str) -> &Process {
        let found: Vec<_> = self.processes.iter().filter(|process| process.comm == comm).collect();
        assert_eq!(found.len(), 1, "processes called {comm} among {:?}", self.comms());
        found[0]
    }

    /// The ids of all processes.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.pid).collect()
    }

    fn comms(&self) -> Vec<&str> {
        self.processes.iter().map(|process| process.comm.as_str()).collect()
    }

    /// Children of a process.
    pub fn children(&self, pid: u32) -> Vec<&Process> {
        self.processes.iter().filter(|process| process.ppid == Some(pid)).collect()
    }

    /// Bytes of all flows of these ends; `None` matches every name.
    pub fn flow_bytes(
        &self,
        pid: Option<u32>,
        path: &str,
        source: Option<&str>,
        destination: Option<&str>,
    ) -> u64 {
        let is = |end: &End, name: Option<&str>| name.is_none() || end.name.as_deref() == name;
        let wanted = |flow: &&Flow| {
            pid.is_none_or(|pid| flow.pid == pid)
                && flow.path == path
                && is(&flow.source, source)
                && is(&flow.destination, destination)
        };
        self.flows.iter().filter(wanted).map(|flow| flow.bytes).sum()
    }

    /// Calls and bytes of the flow between exactly these names, in all processes; `None` is an end without a name.
    pub fn flow(&self, path: &str, source: Option<&str>, destination: Option<&str>) -> (u64, u64) {
        let wanted = |flow: &&Flow| {
            (flow.path.as_str(), flow.source.name.as_deref(), flow.destination.name.as_deref())
                == (path, source, destination)
        };
        let flows = self.flows.iter().filter(wanted);
        flows.fold((0, 0), |(calls, bytes), flow| (calls + flow.syscalls, bytes + flow.bytes))
    }

    /// One loss counter.
    pub fn lost(&self, name: &str) -> u64 {
        self.lost.get(name).copied().unwrap_or_else(|| panic!("no loss counter is called {name}"))
    }

    /// Losses that are not zero.
    pub fn losses(&self) -> Vec<(&str, u64)> {
        self.lost
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| (name.as_str(), *count))
            .collect()
    }

    /// Nothing was lost.
    pub fn assert_nothing_lost(&self) {
        assert_eq!(self.losses(), [], "nothing may be lost here");
    }
}

impl Process {
    /// The one row of system calls with this path and these kinds.
    pub fn row(&self, path: &str, source: Kind, destination: Kind) -> Option<&Row> {
        self.row_via("syscall", path, source, destination)
    }

    /// The one row with this path and these kinds, of system calls or of requests in a ring.
    pub fn row_via(&self, via: &str, path: &str, source: Kind, destination: Kind) -> Option<&Row> {
        let wanted = (via, path, source, destination);
        self.paths.iter().find(|row| (&*row.via, &*row.path, row.source, row.destination) == wanted)
    }

    /// Bytes of that row, none when there is no such row.
    pub fn bytes(&self, path: &str, source: Kind, destination: Kind) -> u64 {
        self.row(path, source, destination).map_or(0, |row| row.bytes)
    }

    /// What must equal `rchar`.
    pub fn bytes_read(&self) -> u64 {
        self.paths.iter().map(|row| row.rchar_bytes).sum()
    }

    /// What must equal `wchar`.
    pub fn bytes_written(&self) -> u64 {
        self.paths.iter().map(|row| row.wchar_bytes).sum()
    }

    /// Data calls of all rows. Those that map files move nothing.
    pub fn data_calls(&self) -> u64 {
        self.paths.iter().filter(|row| row.path != "mmap").map(|row| row.syscalls).sum()
    }
}
