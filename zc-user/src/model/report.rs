//! The report: the contract with users and scripts, field by field as it is written to JSON.
//!
//! What is absent is `None` and written as null, never as 0.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zc_common::path::{Kind, Path};

use super::{names, nullable, reason::Reason};

/// The form of the report. It changes when a field changes its meaning or goes away, not when one is added.
pub const SCHEMA: &str = "zc.report/1";

/// Everything that is known about one window of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: Schema,
    /// What wrote the report.
    pub tool: Tool,
    /// The machine.
    pub host: Host,
    /// When.
    pub window: Window,
    /// Which hooks were there.
    pub hooks: Vec<Hook>,
    /// What was looked at in part only, as it was asked for; `None` when all was.
    #[serde(default)]
    pub sampling: Option<Sampling>,
    /// Every counter of losses, zero or not.
    pub lost: BTreeMap<String, u64>,
    /// What zc itself cost.
    #[serde(rename = "self")]
    pub self_cost: SelfCost,
    /// Processes, most bytes first.
    pub processes: Vec<Process>,
    /// Flows of all processes, most bytes first.
    pub flows: Vec<Flow>,
    /// What a limit left out; absent when nothing was asked to be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<Omitted>,
}

/// [`SCHEMA`] and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Schema;

impl From<Schema> for &'static str {
    fn from(_: Schema) -> Self {
        SCHEMA
    }
}

impl TryFrom<String> for Schema {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == SCHEMA { Ok(Self) } else { Err(format!("the schema is {text}, not {SCHEMA}")) }
    }
}

/// What wrote a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Version of zc.
    pub version: String,
    /// The commit that it was built from.
    pub commit: Option<String>,
}

impl Tool {
    /// This build.
    pub fn this() -> Self {
        Self { version: env!("CARGO_PKG_VERSION").into(), commit: option_env!("ZC_COMMIT").map(Into::into) }
    }
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Release of the kernel, as `uname -r` has it.
    pub kernel: String,
    /// Machine name of the processor, as `uname -m` has it.
    pub arch: String,
    /// Name of the host.
    pub hostname: String,
    /// Processors that are online.
    pub cpus: u32,
}

/// The time that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// When it began.
    pub start: Timestamp,
    /// How long it was.
    pub seconds: f64,
}

/// What was looked at in part only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// What devices were given to send was seen of one in so many connections, each chosen at random when its first bytes left.
    pub connections_one_in: u32,
}

/// A place in the kernel that zc wants to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// How it is attached: `tracepoint`, `raw_tracepoint`, `tp_btf`, `fentry`, `fexit`, …
    pub method: Option<String>,
    /// Whether it is.
    pub status: HookStatus,
    /// Why it is not.
    pub reason: Option<String>,
}

/// Whether a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookStatus {
    /// It is.
    Attached,
    /// It could not be.
    Unavailable,
    /// It was not asked for.
    Disabled,
}

/// What zc itself cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfCost {
    /// Runs of its kernel programs.
    pub bpf_runs: Option<u64>,
    /// Time in its kernel programs.
    pub bpf_ns: Option<u64>,
    /// Processor time of its process.
    pub cpu_seconds: Option<f64>,
    /// Memory of its process.
    pub rss_bytes: Option<u64>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "identity: as in ProcessSample")]
pub struct Process {
    pub pid: u32,
    pub ppid: Option<u32>,
    pub start_ns: u64,
    pub comm: Option<String>,
    pub exe: Option<String>,
    pub cmdline: Vec<String>,
    pub cgroup: Option<String>,
    pub container: Option<String>,
    pub exit_code: Option<i32>,
    /// System calls of every kind.
    pub syscalls: Option<u64>,
    pub mode_switches: ModeSwitches,
    #[serde(with = "nullable::context_switches")]
    pub context_switches: Option<ContextSwitches>,
    #[serde(with = "nullable::page_faults")]
    pub page_faults: Option<PageFaults>,
    /// Bytes that storage had to deliver for it, in calls and page faults of every kind.
    #[serde(default)]
    pub device_read_bytes: Option<u64>,
    /// What it moved, most bytes first.
    pub paths: Vec<PathRow>,
}

/// Crossings between user and kernel mode, both ways counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeSwitches {
    /// By system calls.
    pub syscall: Option<u64>,
    /// By page faults taken in user mode.
    pub exception: Option<u64>,
    /// By device interrupts taken in user mode.
    pub interrupt: Option<u64>,
}

/// How often the scheduler put another thread on the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSwitches {
    /// The thread blocked.
    pub voluntary: u64,
    /// The thread was preempted.
    pub involuntary: u64,
}

/// Page faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFaults {
    /// Served without storage I/O.
    pub minor: u64,
    /// Served with storage I/O.
    pub major: u64,
    /// Among both: those that copied a page of a file that is mapped privately. `None` but for `mmap`.
    pub copy_on_write: Option<u64>,
}

/// What a process moved along one path between two kinds of ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathRow {
    /// The kernel mechanism.
    #[serde(with = "names::path")]
    pub path: Path,
    /// How the kernel was asked.
    pub via: Via,
    /// Where from.
    #[serde(with = "names::kind")]
    pub source: Kind,
    /// Where to.
    #[serde(with = "names::kind")]
    pub destination: Kind,
    /// How much, and at what cost.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What a process moved along one path between two named ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The process.
    pub pid: u32,
    /// Its start, as process ids are used again.
    pub start_ns: u64,
    /// The kernel mechanism.
    #[serde(with = "names::path")]
    pub path: Path,
    /// How the kernel was asked.
    pub via: Via,
    /// Where from.
    pub source: End,
    /// Where to.
    pub destination: End,
    /// How much, and at what cost.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What it is.
    #[serde(with = "names::kind")]
    pub kind: Kind,
    /// Path, address or number. Of a socket with a peer, the peer's address.
    pub name: Option<String>,
    /// A socket's own address.
    #[serde(default)]
    pub local: Option<String>,
}

/// How the kernel was asked to move bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A system call of its own.
    Syscall,
    /// A request in a ring.
    IoUring,
    /// A request of Linux AIO (`io_submit`).
    Aio,
}

/// The numbers of a path row or of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Calls that moved at least one byte.
    pub transfers: u64,
    /// System calls, those without result included.
    pub syscalls: u64,
    /// Payload, each byte once.
    pub bytes: u64,
    /// Bytes copied by the processor, as far as known: bytes that are copied twice count twice.
    pub cpu_copied_bytes: Option<u64>,
    /// Bytes handed on without a copy, as far as known.
    pub by_reference_bytes: Option<u64>,
    /// Payload of which it is not known, for at least one of its steps.
    pub unknown_bytes: u64,
    /// Bytes that a device wrote to memory for this.
    pub device_read_bytes: Option<u64>,
    /// Bytes that a device read from memory for this.
    pub device_sent_bytes: Option<u64>,
    /// Two for each system call.
    pub mode_switches: u64,
    /// Within the calls.
    #[serde(with = "nullable::context_switches")]
    pub context_switches: Option<ContextSwitches>,
    /// Within the calls.
    #[serde(with = "nullable::page_faults")]
    pub page_faults: Option<PageFaults>,
    /// Time in the calls.
    pub seconds: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
    /// How it is known.
    pub evidence: Evidence,
    /// Why.
    pub reason: Option<Reason>,
    /// Payload that the kernel counts in `rchar` of `/proc/PID/io`: not what the recv family, splices and rings move.
    pub rchar_bytes: u64,
    /// Payload that the kernel counts in `wchar`.
    pub wchar_bytes: u64,
}

/// Whether payload was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No byte was.
    ZeroCopy,
    /// Every byte was.
    Copied,
    /// Some were, some were handed on by reference.
    Mixed,
    /// Nobody can say.
    Unknown,
}

impl Verdict {
    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copied => "copied",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
        }
    }
}

/// How a verdict is known, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The bytes were seen in the kernel, by reference or copied.
    Witnessed,
    /// The kernel told the application, and that report was read.
    Reported,
    /// From the call, the kinds of its ends and known kernel behaviour.
    Inferred,
}

impl Evidence {
    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Witnessed => "witnessed",
            Self::Reported => "reported",
            Self::Inferred => "inferred",
        }
    }
}

impl Via {
    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::IoUring => "io_uring",
            Self::Aio => "aio",
        }
    }
}

/// How many entries of each list a limit left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    /// Processes.
    pub processes: u64,
    /// Path rows, which are those of the processes left out.
    pub paths: u64,
    /// Flows.
    pub flows: u64,
}
