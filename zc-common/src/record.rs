//! Records of the ring buffer: discrete things that happened, never anything on a hot path.

use crate::{
    assert_layout, pod,
    row::{RowKey, RowValue},
};

/// First field of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// A [`RecordKind`].
    pub kind: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Which record follows a [`Header`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// [`RowRecord`].
    Row = 1,
    /// [`ProcessRecord`]: a traced process made a child.
    Fork = 2,
    /// [`ExecRecord`].
    Exec = 3,
    /// [`ProcessRecord`]: the last thread of a process ended.
    Exit = 4,
    /// [`crate::object::ObjectRecord`].
    Object = 5,
}

impl RecordKind {
    /// The kind of a number from the ring, if it is one.
    pub const fn from_u32(value: u32) -> Option<Self> {
        Some(match value {
            1 => Self::Row,
            2 => Self::Fork,
            3 => Self::Exec,
            4 => Self::Exit,
            5 => Self::Object,
            _ => return None,
        })
    }

    /// The header of a record of this kind.
    pub const fn header(self) -> Header {
        Header { kind: self as u32, reserved: 0 }
    }
}

/// The last state of a row whose thread has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRecord {
    /// [`Header`].
    pub header: Header,
    /// Which row.
    pub key: RowKey,
    /// What it holds.
    pub value: RowValue,
}

/// Length of `task_struct.comm`.
pub const COMM_BYTES: usize = 16;
/// How many bytes of a command line are kept.
pub const ARGS_BYTES: usize = 1024;

/// A process that began or ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRecord {
    /// [`Header`].
    pub header: Header,
    /// The process, in the initial PID namespace.
    pub tgid: u32,
    /// Its parent.
    pub ppid: u32,
    /// `start_boottime` of the process's first thread.
    pub start_ns: u64,
    /// The cgroup of the hierarchy version 2 (`bpf_get_current_cgroup_id`): the inode of its directory.
    pub cgroup_id: u64,
    /// Of an exit: `task_struct.exit_code` of the last thread, in the encoding of wait(2).
    pub exit_code: u32,
    /// Always zero.
    pub reserved: u32,
    /// `task_struct.comm`.
    pub comm: [u8; COMM_BYTES],
}

/// A process that runs a new program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecRecord {
    /// Who, with the command name already that of the new program.
    pub process: ProcessRecord,
    /// Object id of the executable, 0 when it is not named.
    pub exe: u32,
    /// Bytes used of `args`; more than fits means that the command line is cut.
    pub args_len: u32,
    /// The command line from the process's memory (`mm_struct.arg_start`): arguments ended by NUL.
    pub args: [u8; ARGS_BYTES],
}

assert_layout!(Header, 8, [u32, u32]);
assert_layout!(RowRecord, 216, [Header, RowKey, RowValue]);
assert_layout!(ProcessRecord, 56, [Header, u32, u32, u64, u64, u32, u32, [u8; COMM_BYTES]]);
assert_layout!(ExecRecord, 64 + ARGS_BYTES, [ProcessRecord, u32, u32, [u8; ARGS_BYTES]]);
pod!(Header, RowRecord, ProcessRecord, ExecRecord);
