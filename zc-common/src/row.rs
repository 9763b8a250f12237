//! Rows: what one thread moved along one path between two ends.
//!
//! A row has a single writer, its thread, so that the kernel side needs no atomics; user space adds
//! the rows of threads up into processes. A row names its ends by object id ([`crate::object`]):
//! id 0 stands for "not named", which is also where calls go once a process has used up its flows.

use crate::{assert_layout, pod};

/// Key of the `ROWS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// `task_struct.start_boottime`: with `tid` it names a thread for good, as thread ids are used again.
    pub thread_start_ns: u64,
    /// The thread, in the initial PID namespace.
    pub tid: u32,
    /// A [`crate::path::Path`].
    pub path: u8,
    /// A [`crate::path::Kind`].
    pub source_kind: u8,
    /// A [`crate::path::Kind`].
    pub destination_kind: u8,
    /// `DIRECT_*`.
    pub flags: u8,
    /// Object id of the source, 0 when it is memory or not named.
    pub source: u32,
    /// Object id of the destination, 0 when it is memory or not named.
    pub destination: u32,
    /// Object id of the pipe between the two, where bytes were spliced into it and out of it, or
    /// [`THROUGH_UNNAMED`]; else 0.
    pub through: u32,
    /// Always zero.
    pub reserved: u32,
}

impl RowKey {
    /// No row.
    pub const NONE: Self = Self {
        thread_start_ns: 0,
        tid: 0,
        path: 0,
        source_kind: 0,
        destination_kind: 0,
        flags: 0,
        source: 0,
        destination: 0,
        through: 0,
        reserved: 0,
    };
}

/// The source was open with `O_DIRECT` at the time of the call.
pub const DIRECT_SOURCE: u8 = 1;
/// The destination was open with `O_DIRECT` at the time of the call.
pub const DIRECT_DESTINATION: u8 = 2;
/// The bytes came in by a call that the kernel does not count in `rchar`: the recv family, `process_vm_readv`.
pub const MESSAGE_SOURCE: u8 = 4;
/// The bytes went out by a call that the kernel does not count in `wchar`: the send family, `process_vm_writev`.
pub const MESSAGE_DESTINATION: u8 = 8;
/// The bytes came in by a request in a ring (`io_uring`).
pub const RING_SOURCE: u8 = 16;
/// The bytes went out by a request in a ring.
pub const RING_DESTINATION: u8 = 32;
/// The bytes came in by a request of Linux AIO. None but this has both flags.
pub const AIO_SOURCE: u8 = MESSAGE_SOURCE | RING_SOURCE;
/// The bytes went out by a request of Linux AIO.
pub const AIO_DESTINATION: u8 = MESSAGE_DESTINATION | RING_DESTINATION;
/// The source is a file that is mapped into the memory from which the bytes were written: there was no read.
pub const MAPPED_SOURCE: u8 = 64;
/// Of a write: `MSG_ZEROCOPY` was asked for on a socket without `SO_ZEROCOPY`, and ignored. Of
/// `copy_file_range`: it was `FICLONE` or `FICLONERANGE`. Of bytes that were spliced through a pipe: those that took them
/// out were seen before those that put them in, and counted them as a leg, too; their costs are `own`. Of page
/// faults on a mapped file: the page table could not be read, and at least so much was mapped.
pub const SPECIAL: u8 = 128;
/// In place of the id of a pipe that is not named, in [`RowKey::through`].
pub const THROUGH_UNNAMED: u32 = u32::MAX;
/// The flags that say how the bytes came to where they were written from.
pub const SOURCE_FLAGS: u8 = DIRECT_SOURCE | MESSAGE_SOURCE | RING_SOURCE | MAPPED_SOURCE;

/// What calls cost besides bytes.
///
/// Switches are those seen by `sched_switch` while the call was in progress; faults are differences of
/// `task_struct.{min,maj}_flt` from the first kernel-mode fault or switch within the call to its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// System calls.
    pub calls: u64,
    /// Voluntary context switches: the thread blocked.
    pub voluntary: u64,
    /// Involuntary context switches: the thread was preempted.
    pub involuntary: u64,
    /// Page faults served without storage I/O.
    pub minor: u64,
    /// Page faults that had to wait for storage.
    pub major: u64,
    /// Bytes that storage had to deliver, read-ahead included (`task_struct.ioac.read_bytes`).
    pub device_read_bytes: u64,
}

/// Value of the `ROWS` map.
///
/// In the totals row of a thread ([`crate::path::Path::Thread`]) `own` is the whole life of the
/// thread (calls of every kind included, when they are counted) and `transfers` holds the page faults
/// that it took in user mode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowValue {
    /// The thread's next row; `tid` 0 ends the list, which starts in [`crate::thread::Thread`].
    pub next: RowKey,
    /// The process, in the initial PID namespace.
    pub tgid: u32,
    /// `VALUE_*`.
    pub flags: u32,
    /// `start_boottime` of the process's first thread.
    pub process_start_ns: u64,
    /// Payload bytes, by the results of the calls.
    pub bytes: u64,
    /// Bytes that the kernel side knows to have been copied by the processor, where path and kinds do not say it.
    pub copied: u64,
    /// Bytes that the kernel side knows to have been handed on by reference.
    pub by_reference: u64,
    /// Calls that moved at least one byte.
    pub transfers: u64,
    /// What the row's own calls cost; of a `read+write` row these are its writes.
    pub own: Costs,
    /// Of a `read+write` row: what the reads whose bytes it took had cost. The leg rows of those reads
    /// still hold the same costs and bytes, and user space takes them off there. Of page faults on mapped files:
    /// `calls` are those taken in user mode.
    pub taken: Costs,
}

impl RowValue {
    /// What a row begins with.
    pub const NONE: Self = Self {
        next: RowKey::NONE,
        tgid: 0,
        flags: 0,
        process_start_ns: 0,
        bytes: 0,
        copied: 0,
        by_reference: 0,
        transfers: 0,
        own: Costs::NONE,
        taken: Costs::NONE,
    };

    /// A row of the same process as another one, with nothing in it.
    pub const fn of_process(row: &Self) -> Self {
        Self { tgid: row.tgid, process_start_ns: row.process_start_ns, ..Self::NONE }
    }
}

/// In a totals row: calls of every kind were counted, `own.calls` is valid.
pub const VALUE_CALLS_COUNTED: u32 = 1;
/// In a totals row: user-mode page faults were counted, `transfers` is valid.
pub const VALUE_FAULTS_COUNTED: u32 = 2;
/// In a totals row: the kernel counts what storage delivers for a task, `own.device_read_bytes` is valid.
pub const VALUE_STORAGE_COUNTED: u32 = 4;
/// In a row of reads from sockets: of at least one call, not exactly its bytes were seen to be copied.
pub const VALUE_COPY_UNSEEN: u32 = 8;

impl Costs {
    /// Nothing.
    pub const NONE: Self =
        Self { calls: 0, voluntary: 0, involuntary: 0, minor: 0, major: 0, device_read_bytes: 0 };

    /// Adds `other` to this.
    pub const fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.minor += other.minor;
        self.major += other.major;
        self.device_read_bytes += other.device_read_bytes;
    }

    /// Takes `other` off, stopping at zero.
    pub const fn subtract(&mut self, other: &Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.voluntary = self.voluntary.saturating_sub(other.voluntary);
        self.involuntary = self.involuntary.saturating_sub(other.involuntary);
        self.minor = self.minor.saturating_sub(other.minor);
        self.major = self.major.saturating_sub(other.major);
        self.device_read_bytes = self.device_read_bytes.saturating_sub(other.device_read_bytes);
    }
}

assert_layout!(RowKey, 32, [u64, u32, [u8; 4], [u32; 4]]);
assert_layout!(Costs, 48, [[u64; 6]]);
assert_layout!(RowValue, 176, [RowKey, u32, u32, [u64; 5], Costs, Costs]);
pod!(RowKey, Costs, RowValue);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up_and_never_go_below_zero() {
        let one = Costs { calls: 3, voluntary: 1, involuntary: 2, minor: 5, major: 7, device_read_bytes: 9 };
        let mut sum = one;
        sum.add(&one);
        assert_eq!(
            sum,
            Costs { calls: 6, voluntary: 2, involuntary: 4, minor: 10, major: 14, device_read_bytes: 18 }
        );
        sum.subtract(&one);
        assert_eq!(sum, one);
        sum.subtract(&Costs { calls: 9, ..one });
        assert_eq!(sum, Costs::default());
    }
}
