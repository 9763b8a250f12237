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
}

/// The source was open with `O_DIRECT` at the time of the call.
pub const DIRECT_SOURCE: u8 = 1;
/// The destination was open with `O_DIRECT` at the time of the call.
pub const DIRECT_DESTINATION: u8 = 2;

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
    /// Calls that moved at least one byte.
    pub transfers: u64,
    /// What the row's own calls cost; of a `read+write` row these are its writes.
    pub own: Costs,
    /// Of a `read+write` row: what the reads whose bytes it took had cost. The leg rows of those reads
    /// still hold the same costs and bytes, and user space takes them off there.
    pub taken: Costs,
}

/// In a totals row: calls of every kind were counted, `own.calls` is valid.
pub const VALUE_CALLS_COUNTED: u32 = 1;
/// In a totals row: user-mode page faults were counted, `transfers` is valid.
pub const VALUE_FAULTS_COUNTED: u32 = 2;

impl Costs {
    /// Adds `other` to this.
    pub const fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        self.minor += other.minor;
        self.major += other.major;
    }

    /// Takes `other` off, stopping at zero.
    pub const fn subtract(&mut self, other: &Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.voluntary = self.voluntary.saturating_sub(other.voluntary);
        self.involuntary = self.involuntary.saturating_sub(other.involuntary);
        self.minor = self.minor.saturating_sub(other.minor);
        self.major = self.major.saturating_sub(other.major);
    }
}

assert_layout!(RowKey, 24, [u64, u32, [u8; 4], u32, u32]);
assert_layout!(Costs, 40, [[u64; 5]]);
assert_layout!(RowValue, 136, [RowKey, u32, u32, u64, u64, u64, Costs, Costs]);
pod!(RowKey, Costs, RowValue);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up_and_never_go_below_zero() {
        let one = Costs { calls: 3, voluntary: 1, involuntary: 2, minor: 5, major: 7 };
        let mut sum = one;
        sum.add(&one);
        assert_eq!(sum, Costs { calls: 6, voluntary: 2, involuntary: 4, minor: 10, major: 14 });
        sum.subtract(&one);
        assert_eq!(sum, one);
        sum.subtract(&Costs { calls: 9, ..one });
        assert_eq!(sum, Costs::default());
    }
}
