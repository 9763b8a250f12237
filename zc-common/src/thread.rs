//! The state of a traced thread.

use crate::{
    assert_layout,
    fault::Fault,
    inside::Inside,
    mapping::{MAPPINGS, Mapping},
    pod,
    row::{Costs, RowKey, RowValue},
};

/// How many descriptors a thread remembers; a power of two.
pub const DESCRIPTORS: usize = 8;

/// Value of the `THREADS` map, keyed by thread id. Its thread is its only writer, but for
/// `sched_switch`, which runs on behalf of the thread while that does nothing else.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    /// `task_struct.start_boottime`.
    pub start_ns: u64,
    /// Whether it is among the threads of a process that ran before it was traced: [`COUNTED`], [`LEFT`]. Changed with atomic
    /// operations, as whoever counts such threads is not their own program.
    pub counted: u64,
    /// `start_boottime` of the process's first thread.
    pub process_start_ns: u64,
    /// Names the process's memory: process id and a mix of its start and of `self_exec_id`, so that what
    /// was read before an exec does not pair with what is written after it.
    pub memory: u64,
    /// System calls of every kind, as far as they are counted.
    pub calls: u64,
    /// Page faults taken in user mode.
    pub user_faults: u64,
    /// `ioac.read_bytes` when it was last looked at: what storage delivered since then is not in any sum yet.
    pub device_seen: u64,
    /// Bytes that storage had to deliver for the call in progress.
    pub call_device_read_bytes: u64,
    /// Bytes that a device read from or wrote to user memory for the call in progress.
    pub call_direct_bytes: u64,
    /// [`crate::session::Session::bounced_storage`] before the device was asked for these.
    pub call_bounced: u64,
    /// Bytes that storage had to deliver for page faults in user mode, since the thread began.
    pub fault_device_read_bytes: u64,
    /// The task's counters when tracing began: what to take off its totals.
    pub base: Costs,
    /// `min_flt` at the first switch or kernel-mode fault within the call in progress.
    pub call_minor: u64,
    /// `maj_flt` at the same moment.
    pub call_major: u64,
    /// Voluntary switches within the call in progress.
    pub call_voluntary: u32,
    /// Involuntary switches within the call in progress.
    pub call_involuntary: u32,
    /// Not zero when these four fields and the sums of the call above hold something for the call in progress.
    pub call_touched: u32,
    /// The process.
    pub tgid: u32,
    /// How many parts the bytes have that the call in progress was seen to send on a connection.
    pub sent_parts: u32,
    /// How many bytes that is.
    pub sent_bytes: u32,
    /// The last time that the thread was asked for its rows (`EPOCH`) and has handed over all of them.
    pub epoch: u64,
    /// What was seen inside the kernel of the call in progress.
    pub inside: Inside,
    /// Bytes that were seen to be copied out of buffers of sockets for the call in progress, before the thread was last switched
    /// away from its CPU.
    pub received: u64,
    /// The thread's rows: first of a list linked through [`crate::row::RowValue::next`].
    pub rows: RowKey,
    /// What was added lately and is not in `ROWS` yet, by path.
    pub recent: [Recent; RECENT],
    /// Descriptors seen lately, by the low bits of their number.
    pub descriptors: [Descriptor; DESCRIPTORS],
    /// `task_struct.mm`: which generation the ranges below are of.
    pub mm: u64,
    /// `mm_struct.pgd`: the page table.
    pub page_table: u64,
    /// The page fault on a mapped file that was last seen to begin, until its end is accounted for. Also there for
    /// others who have to know which file a thread waits for.
    pub fault: Fault,
    /// Ranges of memory seen lately.
    pub mappings: [Mapping; MAPPINGS],
}

/// In [`Thread::counted`]: the thread is counted as one of its process.
pub const COUNTED: u64 = 1;
/// In [`Thread::counted`]: it has ended. Whoever adds this to [`COUNTED`] alone counts it out.
pub const LEFT: u64 = 2;

/// How many rows a thread keeps at hand: one for each sort of path.
pub const RECENT: usize = 4;

/// A row that the thread used last, with what is still to be added to it in `ROWS`. Calls that go on in the same
/// way stay here, and cost no look into a hash.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// Path, source kind, destination kind and flags of the row's key.
    pub what: u32,
    /// Object id of the source.
    pub source: u32,
    /// Object id of the destination.
    pub destination: u32,
    /// Object id of the pipe between them.
    pub through: u32,
    /// Calls of a `read+write` row's reads, see [`crate::row::RowValue::taken`].
    pub taken_calls: u32,
    /// Calls that moved at least one byte.
    pub transfers: u32,
    /// Payload bytes.
    pub bytes: u64,
    /// System calls.
    pub calls: u32,
    /// `VALUE_*` of the row.
    pub flags: u32,
}

impl Recent {
    /// No row.
    pub const NONE: Self = Self {
        what: 0,
        source: 0,
        destination: 0,
        through: 0,
        taken_calls: 0,
        transfers: 0,
        bytes: 0,
        calls: 0,
        flags: 0,
    };

    /// The row's key and what is to be added to it, when there is anything.
    pub fn pending(&self, thread: &Thread, tid: u32) -> Option<(RowKey, RowValue)> {
        if self.bytes == 0 && self.calls == 0 && self.flags == 0 {
            return None;
        }
        let [path, source_kind, destination_kind, flags] = self.what.to_ne_bytes();
        let key = RowKey {
            thread_start_ns: thread.start_ns,
            tid,
            path,
            source_kind,
            destination_kind,
            flags,
            source: self.source,
            destination: self.destination,
            through: self.through,
            reserved: 0,
        };
        let value = RowValue {
            tgid: thread.tgid,
            flags: self.flags,
            process_start_ns: thread.process_start_ns,
            bytes: self.bytes,
            transfers: self.transfers.into(),
            own: Costs { calls: self.calls.into(), ..Costs::default() },
            taken: Costs { calls: self.taken_calls.into(), ..Costs::default() },
            ..RowValue::default()
        };
        Some((key, value))
    }
}

/// A descriptor seen before, with what its file must still be for the memory of it to hold.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptor {
    /// Address of the `struct file`.
    pub file: u64,
    /// Address of its inode, `f_inode`.
    pub inode: u64,
    /// `i_ino`.
    pub number: u64,
    /// `i_generation`.
    pub generation: u32,
    /// The descriptor.
    pub fd: i32,
    /// The object's id, 0 when it is not named.
    pub object: u32,
    /// A [`crate::path::Kind`].
    pub kind: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

assert_layout!(Descriptor, 40, [u64, u64, u64, u32, i32, u32, u8, [u8; 3]]);
assert_layout!(
    Thread,
    88 + 48 + 16 + 24 + 8 + 32 + 8 + 32 + 40 * RECENT + 40 * DESCRIPTORS + 16 + 128 + 32 * MAPPINGS,
    [
        [u64; 11],
        Costs,
        [u64; 2],
        [u32; 6],
        u64,
        Inside,
        u64,
        RowKey,
        [Recent; RECENT],
        [Descriptor; DESCRIPTORS],
        [u64; 2],
        Fault,
        [Mapping; MAPPINGS]
    ]
);
assert_layout!(Recent, 40, [[u32; 6], u64, [u32; 2]]);
pod!(Thread, Recent, Descriptor);

/// Names the memory of a process between two execs.
///
/// Two processes never share a value at the same time: the process id is in it, and what tells lives of
/// the same id apart is mixed into the other half.
pub const fn memory_id(tgid: u32, process_start_ns: u64, exec_id: u64) -> u64 {
    let life = (process_start_ns ^ exec_id.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 8;
    (tgid as u64) << 32 | (life & 0xFFFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_of_a_row_is_not_forgotten_when_nothing_was_moved() {
        let thread = Thread { tgid: 7, ..Thread::default() };
        assert_eq!(Recent::NONE.pending(&thread, 8), None);
        let noted = Recent { flags: 8, ..Recent::NONE };
        let (_, value) = noted.pending(&thread, 8).expect("something to add");
        assert_eq!((value.flags, value.bytes, value.tgid), (8, 0, 7));
    }

    #[test]
    fn memory_of_a_process_changes_with_exec_and_with_the_process() {
        let first = memory_id(42, 1_000_000_007, 5);
        assert_ne!(first, memory_id(42, 1_000_000_007, 6));
        assert_ne!(first, memory_id(43, 1_000_000_007, 5));
        assert_ne!(first, memory_id(42, 1_000_010_007, 5));
    }
}
