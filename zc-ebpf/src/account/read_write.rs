//! Reads and writes: bytes that go into user memory or out of it, and what pairs them.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use zc_common::{
    pair::Source,
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::{
    later::{PIPE_IN, PIPE_OUT, TAKE},
    leg::Leg,
    memory::{self, Memory, Shape},
    pipe::any_pipe,
    received,
};
use crate::{
    kernel::{Typed, current, probe_user, typed, user_registers},
    object,
    row::{self, Entry},
    thread,
};

/// A call of read's family has ended; returns what is left to do. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_read_call(
    thread: *mut Thread,
    shape: u64,
    fd: u64,
    address: u64,
    bytes: u64,
) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    read(thread, task, &leg_of_call(thread, task, shape, (fd, address), bytes))
}

/// The same of write's, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_write_call(
    thread: *mut Thread,
    shape: u64,
    fd: u64,
    address: u64,
    bytes: u64,
) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    write(thread, task, &leg_of_call(thread, task, shape, (fd, address), bytes))
}

#[inline(always)]
fn leg_of_call(thread: *mut Thread, task: Typed, shape: u64, (fd, address): (u64, u64), bytes: u64) -> Leg {
    let memory = if shape == Shape::Vector as u64 {
        memory_of_vector(address, bytes)
    } else {
        Memory::new(Shape::Buffer, address)
    };
    Leg {
        costs: thread::call_costs(thread, task, bytes),
        end: object::end_of(thread, task, fd),
        fd,
        memory,
        bytes,
        calls: 1,
        flags: 0,
    }
}

/// The memory of a call that was given a vector. Servers give many of one entry, which is a buffer: no walk is needed.
#[inline(always)]
fn memory_of_vector(vector: u64, bytes: u64) -> Memory {
    let entries: u64 = typed!(user_registers(current()), regs_arg2);
    if entries == 1
        && let Some([buffer, len]) = probe_user::<[u64; 2]>(vector)
        && len >= bytes
    {
        return Memory::new(Shape::Buffer, buffer);
    }
    Memory::new(Shape::Vector, vector)
}

/// Bytes were put into memory; returns what is left to do.
#[inline(always)]
pub(super) fn read(thread: *mut Thread, task: Typed, leg: &Leg) -> u64 {
    let Leg { end: from, bytes, costs, .. } = *leg;
    let pipe = if from.kind == Kind::Pipe as u8 && bytes != 0 && any_pipe() { PIPE_OUT } else { 0 };
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
    // What requests move is copied when they are done, and not seen here.
    if leg.calls != 0 && received::is_seen_at(from.kind) && added {
        received::settle(thread, key.tid, bytes);
    }
    // Bytes that are in no row must not come back as half of a pair.
    if bytes == 0 || !added {
        return pipe;
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
    pipe | memory::put(thread, &leg.memory, bytes, source)
}

/// Bytes were sent from memory; returns what is left to do.
#[inline(always)]
pub(super) fn write(thread: *mut Thread, task: Typed, leg: &Leg) -> u64 {
    write_as(thread, task, leg, Path::ReadWrite, Path::Write)
}

/// The same, by the path of what reads had put there, and by that of the rest.
#[inline(always)]
pub(super) fn write_as(thread: *mut Thread, task: Typed, leg: &Leg, pair: Path, rest: Path) -> u64 {
    let Leg { end: to, bytes, costs, .. } = *leg;
    let pipe = if to.kind == Kind::Pipe as u8 && bytes != 0 && any_pipe() { PIPE_IN } else { 0 };
    let flags = to.destination_flags() | leg.flags;
    let key = RowKey {
        path: pair as u8,
        destination_kind: to.kind,
        destination: to.object,
        flags,
        ..row::key(thread, task)
    };
    let mut entry = Entry { calls: leg.calls, ..Entry::new(key, 0, costs) };
    let whole = Rest { bytes, fd: leg.fd, object: to.object, path: rest as u8, flags };
    let Some(paired) = memory::take(thread, &leg.memory, bytes, &mut entry, &whole) else {
        return pipe | TAKE;
    };
    if paired != bytes || bytes == 0 {
        count_rest(thread, &mut entry, &Rest { bytes: bytes - paired, ..whole });
    }
    pipe
}

/// Bytes that were sent from memory, and what the row has of them that is for what found no partner.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Rest {
    pub(super) bytes: u64,
    fd: u64,
    object: u32,
    path: u8,
    flags: u8,
}

/// Counts what found no partner; the call is counted here when nothing did.
#[inline(always)]
pub(super) fn count_rest(thread: *mut Thread, entry: &mut Entry, rest: &Rest) {
    entry.key.path = rest.path;
    entry.key.source_kind = Kind::Memory as u8;
    entry.key.source = 0;
    entry.key.destination = rest.object;
    entry.key.flags = rest.flags;
    entry.bytes = rest.bytes;
    entry.taken_calls = 0;
    row::add(thread, entry);
    if entry.key.destination != rest.object {
        object::forget_name(thread, rest.fd);
    }
}
