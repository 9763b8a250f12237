//! Legs: bytes that go into user memory or out of it, and what pairs them.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use zc_common::{
    pair::Source,
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::{
    memory::{self, Memory},
    pipe,
};
use crate::{
    kernel::{Typed, current},
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

/// [`read`] for calls that are not on a hot path. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_read_leg(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    read(thread, current(), unsafe { &*leg });
    1
}

/// [`write`] for calls that are not on a hot path, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_write_leg(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    write(thread, current(), unsafe { &*leg });
    1
}

/// Bytes were sent from memory that the kernel may go on to use (`MSG_ZEROCOPY`). A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_send_zerocopy(thread: *mut Thread, leg: *const Leg) -> u64 {
    if thread.is_null() || leg.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    write_as(thread, current(), unsafe { &*leg }, Path::SendZerocopy, Path::SendZerocopy);
    1
}

/// Bytes were put into memory, and stay where they came from (`MSG_PEEK`): they count when they are read.
#[inline(always)]
pub(crate) fn peek(thread: *mut Thread, task: Typed, leg: &Leg) {
    let key = RowKey {
        path: Path::Read as u8,
        source_kind: leg.end.kind,
        destination_kind: Kind::Memory as u8,
        flags: leg.end.source_flags() | leg.flags,
        source: leg.end.object,
        ..row::key(thread, task)
    };
    let mut entry = Entry { copied: leg.bytes, ..Entry::new(key, 0, leg.costs) };
    row::add(thread, &mut entry);
    if entry.key.source != leg.end.object {
        object::forget_name(thread, leg.fd);
    }
    if leg.bytes != 0 {
        memory::overwrite(thread, &leg.memory, leg.bytes);
    }
}

/// Bytes were put into memory.
#[inline(always)]
pub(crate) fn read(thread: *mut Thread, task: Typed, leg: &Leg) {
    let Leg { end: from, bytes, costs, .. } = *leg;
    if from.kind == Kind::Pipe as u8 && bytes != 0 {
        pipe::passed(thread, leg.fd, bytes, pipe::Way::Out);
    }
    let flags = from.source_flags() | leg.flags;
    let key = RowKey {
        path: Path::Read as u8,
        source_kind: from.kind,
        destination_kind: Kind::Memory as u8,
        flags,
        source: from.object,
        ..row::key(thread, task)
    };
    let mut entry = Entry { calls: leg.calls, ..Entry::new(key, bytes, costs) };
    let added = row::add(thread, &mut entry);
    if entry.key.source != from.object {
        object::forget_name(thread, leg.fd);
    }
    // Bytes that are in no row must not come back as half of a pair.
    if bytes == 0 || !added {
        return;
    }
    let source = Source {
        object: entry.key.source,
        kind: from.kind,
        flags,
        calls: 1,
        voluntary: costs.voluntary,
        involuntary: costs.involuntary,
        minor: costs.minor,
        major: costs.major,
        // SAFETY: has no preconditions.
        stamp: unsafe { bpf_jiffies64() } as u32,
        device_read_bytes: costs.device_read_bytes,
        ..Source::NONE
    };
    memory::put(thread, &leg.memory, bytes, source);
}

/// Bytes were sent from memory.
#[inline(always)]
pub(crate) fn write(thread: *mut Thread, task: Typed, leg: &Leg) {
    write_as(thread, task, leg, Path::ReadWrite, Path::Write);
}

/// The same, by the path of what reads had put there, and by that of the rest.
#[inline(always)]
fn write_as(thread: *mut Thread, task: Typed, leg: &Leg, pair: Path, rest: Path) {
    let Leg { end: to, bytes, costs, .. } = *leg;
    if to.kind == Kind::Pipe as u8 && bytes != 0 {
        pipe::passed(thread, leg.fd, bytes, pipe::Way::In);
    }
    let flags = to.destination_flags() | leg.flags;
    let key = RowKey {
        path: pair as u8,
        destination_kind: to.kind,
        destination: to.object,
        flags,
        ..row::key(thread, task)
    };
    let mut entry = Entry { calls: leg.calls, ..Entry::new(key, 0, costs) };
    let paired = if bytes == 0 { 0 } else { memory::take(thread, &leg.memory, bytes, &mut entry) };
    if paired == bytes && bytes != 0 {
        return;
    }
    // What found no partner; the call is counted here when nothing did.
    entry.key.path = rest as u8;
    entry.key.source_kind = Kind::Memory as u8;
    entry.key.source = 0;
    entry.key.destination = to.object;
    entry.key.flags = flags;
    entry.bytes = bytes - paired;
    entry.taken_calls = 0;
    row::add(thread, &mut entry);
    if entry.key.destination != to.object {
        object::forget_name(thread, leg.fd);
    }
}
