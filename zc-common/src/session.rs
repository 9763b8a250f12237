//! Counters of a whole session.

use crate::{assert_layout, pod};

/// Value of the `SESSION` map, which has one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The last object id that was given away.
    pub objects: u64,
    /// Not zero once the command that is to be traced has begun.
    pub begun: u64,
    /// Set by user space when the program on `sched_switch` is attached: threads are then accounted for at
    /// their last switch, and not where they begin to end.
    pub sees_last_switch: u64,
    /// Set by user space when the program on user-mode page faults is attached.
    pub sees_user_faults: u64,
    /// Parts of zero-copy sends that were kept for a report, and not taken out again: more than there are when some
    /// were forgotten.
    pub sends_waiting: u64,
    /// Where the kernel maps all of physical memory (`PAGE_OFFSET`); 0 when that is not known.
    pub direct_map: u64,
    /// Devices for which something was seen to bounce ([`crate::bounce`]).
    pub bounced: u64,
    /// Of these: those that are not known to be network adapters.
    pub bounced_storage: u64,
    /// Not zero when there were too many to tell them apart.
    pub bounced_unlisted: u64,
}

assert_layout!(Session, 72, [[u64; 9]]);
pod!(Session);
