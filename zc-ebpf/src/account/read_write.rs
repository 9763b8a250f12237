//! The read and the write family, and what pairs them.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use zc_common::{
    pair::Source,
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::memory;
use crate::{
    kernel::{Typed, typed},
    object,
    row::{self, Entry},
    thread::CallCosts,
};

/// A call of the read family has put `bytes` into memory.
#[inline(always)]
pub(super) fn read(
    thread: *mut Thread,
    task: Typed,
    registers: Typed,
    bytes: u64,
    own: CallCosts,
    vectored: bool,
) {
    let fd: u64 = typed!(registers, regs_arg0);
    let from = object::end_of(thread, task, fd);
    let mut entry = Entry {
        key: RowKey {
            path: Path::Read as u8,
            source_kind: from.kind,
            destination_kind: Kind::Memory as u8,
            flags: from.source_flags(),
            source: from.object,
            ..row::key(thread, task)
        },
        bytes,
        calls: 1,
        taken_calls: 0,
        own,
        taken: CallCosts::default(),
    };
    let added = row::add(thread, &mut entry);
    if entry.key.source != from.object {
        object::forget_name(thread, fd);
    }
    // Bytes that are in no row must not come back as half of a pair.
    if bytes == 0 || !added {
        return;
    }
    let source = Source {
        object: entry.key.source,
        kind: from.kind,
        flags: from.source_flags(),
        reserved: 0,
        calls: 1,
        voluntary: own.voluntary,
        involuntary: own.involuntary,
        minor: own.minor,
        major: own.major,
        // SAFETY: has no preconditions.
        stamp: unsafe { bpf_jiffies64() } as u32,
    };
    memory::put(thread, registers, bytes, vectored, source);
}

/// A call of the write family has sent `bytes` from memory.
#[inline(always)]
pub(super) fn write(
    thread: *mut Thread,
    task: Typed,
    registers: Typed,
    bytes: u64,
    own: CallCosts,
    vectored: bool,
) {
    let fd: u64 = typed!(registers, regs_arg0);
    let to = object::end_of(thread, task, fd);
    let key = RowKey {
        path: Path::ReadWrite as u8,
        destination_kind: to.kind,
        destination: to.object,
        flags: to.destination_flags(),
        ..row::key(thread, task)
    };
    let mut entry = Entry { key, bytes: 0, calls: 1, taken_calls: 0, own, taken: CallCosts::default() };
    let paired = if bytes == 0 { 0 } else { memory::take(thread, registers, bytes, vectored, &mut entry) };
    if paired == bytes && bytes != 0 {
        return;
    }
    // What found no partner; the call is counted here when nothing did.
    entry.key.path = Path::Write as u8;
    entry.key.source_kind = Kind::Memory as u8;
    entry.key.source = 0;
    entry.key.destination = to.object;
    entry.key.flags = to.destination_flags();
    entry.bytes = bytes - paired;
    entry.taken_calls = 0;
    row::add(thread, &mut entry);
    if entry.key.destination != to.object {
        object::forget_name(thread, fd);
    }
}
