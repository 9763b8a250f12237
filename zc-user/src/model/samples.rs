//! What the model is made from: the state of the kernel's maps and what is known of processes.
//!
//! Everything here can be written to a file and read back, so that the accounting is tested, and a
//! session looked at again, without a kernel.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use zc_common::{
    path::{Kind, Path},
    row::{Costs, RowKey, RowValue},
};

use super::{
    names,
    report::{Hook, Host, Sampling, SelfCost, Via, Window},
    seen::Seen,
};

/// One session, or one look at it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Samples {
    /// The machine.
    pub host: Host,
    /// When.
    pub window: Window,
    /// Which hooks were there.
    pub hooks: Vec<Hook>,
    /// What was looked at in part only.
    #[serde(default)]
    pub sampling: Option<Sampling>,
    /// The session went on while this was read, so that what it says of processes that live is not of one moment.
    #[serde(default)]
    pub goes_on: bool,
    /// Every counter of losses, zero or not.
    pub lost: BTreeMap<String, u64>,
    /// What zc itself cost.
    pub self_cost: SelfCost,
    /// Which costs of path rows are valid.
    #[serde(default)]
    pub counted: Counted,
    /// Rows of threads, those that ended (from records) and those that live (from the map), each once.
    pub rows: Vec<Row>,
    /// What [`RowKey::source`] and [`RowKey::destination`] stand for.
    pub objects: HashMap<u32, ObjectSample>,
    /// Processes, by pid and start time, each once.
    pub processes: Vec<ProcessSample>,
    /// Totals of the threads that still live. Those of threads that ended are among `rows`, with
    /// [`Path::Thread`]; a thread that is in both is taken from there.
    pub live_totals: Vec<ThreadTotals>,
}

/// Which costs of path rows were counted at all: what was not is null in the report, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether a hook was there, and none depends on another"
)]
pub struct Counted {
    /// The scheduler's hook was there: context switches of rows.
    pub switches: bool,
    /// The page-fault hooks were there: page faults of rows.
    pub faults: bool,
    /// The hook on storage was there: device reads of rows.
    #[serde(default)]
    pub storage: bool,
    /// The hook on what is copied out of sockets was there: whether reads from them were seen to copy.
    #[serde(default)]
    pub received: bool,
}

impl Counted {
    /// What is counted of rows that were asked for in this way: requests in a ring, or of AIO, go on while their threads do
    /// other things, so that nothing falls into them.
    pub(super) fn by(self, via: Via) -> Self {
        match via {
            Via::Syscall => self,
            Via::IoUring | Via::Aio => {
                Self { switches: false, faults: false, storage: false, received: false }
            }
        }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self { switches: true, faults: true, storage: true, received: false }
    }
}

/// One row of the kernel's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which row.
    #[serde(with = "RowKeyFields")]
    pub key: RowKey,
    /// What it holds.
    #[serde(with = "RowValueFields")]
    pub value: RowValue,
    /// What was seen of its bytes when they left the machine, or for another name space.
    #[serde(default)]
    pub seen: Seen,
}

/// What a thread cost since it was traced, like a row with [`Path::Thread`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTotals {
    /// The thread.
    pub tid: u32,
    /// When it started.
    pub thread_start_ns: u64,
    /// Its process.
    pub tgid: u32,
    /// When the process's first thread started.
    pub process_start_ns: u64,
    /// `VALUE_*_COUNTED`.
    pub flags: u32,
    /// Calls of every kind, switches and faults.
    #[serde(with = "CostsFields")]
    pub own: Costs,
    /// Page faults taken in user mode.
    pub user_faults: u64,
}

impl ThreadTotals {
    /// The totals in a row, if it is a totals row.
    pub fn of(row: &Row) -> Option<Self> {
        (row.key.path == Path::Thread as u8).then_some(Self {
            tid: row.key.tid,
            thread_start_ns: row.key.thread_start_ns,
            tgid: row.value.tgid,
            process_start_ns: row.value.process_start_ns,
            flags: row.value.flags,
            own: row.value.own,
            user_faults: row.value.transfers,
        })
    }
}

/// A file, socket, pipe or device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSample {
    /// What it is.
    #[serde(with = "names::kind")]
    pub kind: Kind,
    /// `s_dev`, in any encoding that tells devices apart.
    pub device: u64,
    /// `i_ino`.
    pub inode: u64,
    /// `i_generation`.
    pub generation: u32,
    /// The file had no directory entry any more when it was named.
    pub deleted: bool,
    /// Path of a file, address of a socket's peer, `pipe:[number]` and the like.
    pub name: Option<String>,
    /// A socket's own address: its name when it has no peer.
    pub local: Option<String>,
}

/// A process, identified by `pid` and `start_ns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// Its id in the initial PID namespace.
    pub pid: u32,
    /// Its parent's.
    pub ppid: Option<u32>,
    /// `start_boottime` of its first thread.
    pub start_ns: u64,
    /// Command name, the last one known.
    pub comm: String,
    /// Path of the executable.
    pub exe: Option<String>,
    /// Arguments, the command first.
    pub cmdline: Vec<String>,
    /// Path of its cgroup in the hierarchy version 2.
    pub cgroup: Option<String>,
    /// Id or name of its container.
    pub container: Option<String>,
    /// Exit code, 128 + n after signal n; `None` when it lives or its end was not seen.
    pub exit_code: Option<i32>,
    /// It had not ended at the end of the window.
    pub alive: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RowKey")]
struct RowKeyFields {
    thread_start_ns: u64,
    tid: u32,
    path: u8,
    source_kind: u8,
    destination_kind: u8,
    flags: u8,
    source: u32,
    destination: u32,
    #[serde(default)]
    through: u32,
    #[serde(skip)]
    reserved: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RowValue")]
struct RowValueFields {
    /// A link between rows of the kernel's map: of no meaning outside of it.
    #[serde(skip)]
    next: RowKey,
    tgid: u32,
    flags: u32,
    process_start_ns: u64,
    bytes: u64,
    #[serde(default)]
    copied: u64,
    #[serde(default)]
    by_reference: u64,
    transfers: u64,
    #[serde(with = "CostsFields")]
    own: Costs,
    #[serde(with = "CostsFields")]
    taken: Costs,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Costs")]
struct CostsFields {
    calls: u64,
    voluntary: u64,
    involuntary: u64,
    minor: u64,
    major: u64,
    #[serde(default)]
    device_read_bytes: u64,
}
