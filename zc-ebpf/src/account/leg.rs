//! Legs: bytes between one end and user memory, of whatever call or request.
//!
//! What a family of calls makes out is kept for the CPU, and counted by the program: see [`super::later`].

use aya_ebpf::{macros::map, maps::PerCpuArray};
use zc_common::{
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::{
    later::SENT,
    memory::{self, Memory},
    read_write::{read, write, write_as},
    received,
};
use crate::{
    kernel::current,
    object::{self, End},
    row::{self, Entry},
    thread::CallCosts,
};

/// A call, or a request in a ring, that moved bytes between one end and user memory.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Leg {
    /// The end that is not memory.
    pub(crate) end: End,
    /// Its descriptor, to look it up anew when its flow has no name any more.
    pub(crate) fd: u64,
    /// The user memory, of which the first `bytes` were used.
    pub(crate) memory: Memory,
    /// How many bytes were moved.
    pub(crate) bytes: u64,
    /// 1, or 0 when the request was not a system call.
    pub(crate) calls: u32,
    /// What the row's key says of the call, beside what it says of the end: `MESSAGE_*`, `RING_*`, `SPECIAL`.
    pub(crate) flags: u8,
    pub(crate) costs: CallCosts,
}

/// The leg that is to be counted.
#[map]
static LEG: PerCpuArray<Leg> = PerCpuArray::with_max_entries(1, 0);

/// Where it is made out.
#[inline(always)]
pub(super) fn place() -> Option<&'static mut Leg> {
    // SAFETY: this CPU's, and nothing interrupts a program on the end of a call or request to begin another.
    LEG.get_ptr_mut(0).map(|leg| unsafe { &mut *leg })
}

/// There is nothing to count.
pub(super) const NOTHING: u64 = 0;
/// Bytes were put into memory.
pub(super) const READ: u64 = 1;
/// Bytes were put into memory, and stay where they came from.
pub(super) const PEEK: u64 = 2;
/// Bytes were sent from memory.
pub(super) const WRITE: u64 = 3;
/// Bytes were sent from memory that the kernel may go on to use.
pub(super) const SEND_ZEROCOPY: u64 = 4;

/// Counts the leg that was made out; returns what is left to do.
#[inline(always)]
pub(super) fn count(thread: *mut Thread, what: u64) -> u64 {
    let Some(leg) = LEG.get_ptr(0) else { return 0 };
    match what {
        READ => zc_read_leg(thread, leg),
        PEEK => zc_peek_leg(thread, leg),
        WRITE => zc_write_leg(thread, leg),
        SEND_ZEROCOPY => zc_send_zerocopy(thread, leg),
        _ => 0,
    }
}

/// [`read`], for what is not on a hot path. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_read_leg(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    read(thread, current(), unsafe { &*leg })
}

/// [`write`], as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_write_leg(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    write(thread, current(), unsafe { &*leg })
}

/// Bytes were sent from memory that the kernel may go on to use (`MSG_ZEROCOPY`). A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_send_zerocopy(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    let leg = unsafe { &*leg };
    let left = write_as(thread, current(), leg, Path::SendZerocopy, Path::SendZerocopy);
    if leg.costs.by_device == 0 { left } else { left | SENT }
}

/// Bytes were put into memory, and stay where they came from (`MSG_PEEK`): they count when they are read. A global
/// function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_peek_leg(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes a reference.
    let leg = unsafe { &*leg };
    let key = RowKey {
        path: Path::Read as u8,
        source_kind: leg.end.kind,
        destination_kind: Kind::Memory as u8,
        flags: leg.end.source_flags() | leg.flags,
        source: leg.end.object,
        ..row::key(thread, current())
    };
    let mut entry = Entry { copied: leg.bytes, ..Entry::new(key, 0, leg.costs) };
    if row::add(thread, &mut entry) && leg.calls != 0 {
        received::settle(thread, key.tid, leg.bytes);
    }
    if entry.key.source != leg.end.object {
        object::forget_name(thread, leg.fd);
    }
    if leg.bytes == 0 { 0 } else { memory::overwrite(thread, &leg.memory, leg.bytes) }
}
