//! Which row the bytes are of that a connection sends: rules and arithmetic are in `zc_common::transmission`.
//!
//! Rows note the bytes that they are given of a call to a connection, in the order in which it sent them; when all are
//! noted, the connection is asked where they are.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::{bpf_get_prandom_u32, generated::bpf_loop},
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use zc_common::{
    config::WITNESS,
    loss::Loss,
    maps::ROWS_DEFAULT,
    row::RowKey,
    thread::Thread,
    transmission::{
        BOUNCED, Before, Claim, PARTS, Part, Parts, STREAMS_MAX, Share, Stream, TAPPED, Witnessed,
        class_index,
    },
};

use crate::{
    arch::{self, DataCall},
    kernel::{current, fetch_add, global, probe, swap_if, typed, user_registers},
    maps::{has, lose},
    object, process,
    row::Entry,
};

/// Connections that traced processes send on.
#[map]
pub(crate) static STREAMS: HashMap<u64, Stream> = HashMap::with_max_entries(STREAMS_MAX, BPF_F_NO_PREALLOC);

/// Connections that are left out, as one in so many was asked for.
#[map]
static LEFT_OUT: HashMap<u64, u8> = HashMap::with_max_entries(STREAMS_MAX, BPF_F_NO_PREALLOC);

/// What was seen of rows.
#[map]
static WITNESSED: HashMap<RowKey, Witnessed> = HashMap::with_max_entries(ROWS_DEFAULT, BPF_F_NO_PREALLOC);

/// The parts of the call or request that is being counted.
#[map]
static SENT_PARTS: PerCpuArray<Parts> = PerCpuArray::with_max_entries(1, 0);

/// What a connection begins with; too large for the stack.
static NEW_STREAM: Stream = Stream::NONE;
/// What a row begins with.
static UNSEEN: Witnessed = Witnessed { bytes: [0; 8], tapped: 0, doubtful: 0, bounced: [0; 8] };

/// Notes bytes that a row was given of what is sent on a connection. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_note_sent(thread: *mut Thread, entry: *const Entry) -> u64 {
    if thread.is_null() || entry.is_null() || !has(WITNESS) {
        return 0;
    }
    let Some(parts) = SENT_PARTS.get_ptr_mut(0) else { return 0 };
    // SAFETY: the only caller passes a reference; map memory, only this thread's and this CPU's.
    unsafe {
        let entry = &*entry;
        if entry.bytes == 0 {
            return 0;
        }
        let index = (*thread).sent_parts;
        let row = RowKey { tid: (*thread).tgid, thread_start_ns: (*thread).process_start_ns, ..entry.key };
        if index < PARTS as u32 {
            (*parts).part[index as usize & (PARTS - 1)] = Part { row, bytes: entry.bytes };
        }
        (*thread).sent_parts = index + 1;
        (*thread).sent_bytes = if index == 0 { 0 } else { (*thread).sent_bytes } + entry.bytes as u32;
    }
    1
}

/// Whether the call sent something on a connection.
#[inline(always)]
pub(super) fn has_sent(thread: *mut Thread) -> bool {
    // SAFETY: map memory, only this thread's.
    unsafe { (*thread).sent_parts != 0 }
}

/// Forgets what a call sent whose connection is not known.
#[inline(always)]
pub(in crate::account) fn forget(thread: *mut Thread) {
    // SAFETY: map memory, only this thread's.
    unsafe { (*thread).sent_parts = 0 };
}

/// A call has ended, and all of its bytes are in rows. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_call_sent(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let registers = user_registers(current());
    let number: u64 = typed!(registers, regs_number);
    let fd: u64 = match arch::data_call(number, registers) {
        Some(DataCall::Pipe(_)) => typed!(registers, regs_arg2),
        // Its first argument is no descriptor, and the connections of its requests are not known here.
        Some(DataCall::Aio) => u64::MAX,
        _ => typed!(registers, regs_arg0),
    };
    if let Some(sock) = object::sock_of(thread, fd).filter(|_| object::is_tcp(thread, fd)) {
        zc_sent_on(thread, sock);
    }
    forget(thread);
    0
}

/// The same, of a request on the file at this address. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_request_sent(thread: *mut Thread, file: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    if let Some(sock) = object::sock_of_file(file) {
        zc_sent_on(thread, sock);
    }
    forget(thread);
    0
}

/// The last bytes that the connection was given are those that were noted. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_sent_on(thread: *mut Thread, sock: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let (count, bytes) = unsafe { ((*thread).sent_parts, (*thread).sent_bytes) };
    let Some(end) = probe!(sock, tcp_write_seq) else { return 0 };
    let end: u32 = end;
    let known = STREAMS.get_ptr_mut(&sock);
    let found = known.or_else(|| create(sock, end.wrapping_sub(bytes)));
    let Some(stream) = found else { return 0 };
    let Some(parts) = SENT_PARTS.get_ptr(0) else { return 0 };
    // SAFETY: map memory.
    let lock = unsafe { &raw mut (*stream).call_lock };
    if zc_lock(lock) == 0 {
        lose(Loss::TransmissionsUnmatched);
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let tgid = unsafe { (*thread).tgid };
    let before = if process::is_attached(tgid) {
        Before::Calls { seen_leaving: known.is_some() }
    } else {
        Before::Nothing
    };
    // SAFETY: map memory, and the lock is held.
    let claim = unsafe { Stream::claim(stream, &(*parts).part[0].row, count, bytes, end, before) };
    let is_known = match claim {
        Claim::Parts { start } => {
            let mut number = start;
            let mut index = 0;
            while index < PARTS as u32 {
                if index >= count {
                    break;
                }
                number = zc_push_part(stream, index.into(), number.into()) as u32;
                index += 1;
            }
            true
        }
        Claim::Row => zc_push_row(stream, end.into(), 1) != 0,
        Claim::Unknown => {
            zc_push_row(stream, end.into(), 0);
            false
        }
        Claim::Former => {
            zc_push_row(stream, end.into(), 0);
            true
        }
        Claim::Open => true,
        Claim::Full => false,
    };
    unlock(lock);
    if !is_known {
        lose(Loss::TransmissionsUnmatched);
    }
    zc_match(stream);
    0
}

/// Pushes a part of the call, from this number on; returns the number of what follows. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_push_part(stream: *mut Stream, index: u64, start: u64) -> u64 {
    if stream.is_null() {
        return 0;
    }
    let Some(parts) = SENT_PARTS.get_ptr(0) else { return 0 };
    // SAFETY: map memory, this CPU's.
    let Part { row, bytes } = unsafe { (*parts).part[index as usize & (PARTS - 1)] };
    let end = (start + bytes) as u32;
    // SAFETY: map memory, and the lock is held.
    if !unsafe { Stream::push_call(stream, &row, end) } {
        lose(Loss::TransmissionsUnmatched);
    }
    end.into()
}

/// Pushes all that was open as of one row, or as of none. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_push_row(stream: *mut Stream, end: u64, is_known: u64) -> u64 {
    if stream.is_null() {
        return 0;
    }
    // SAFETY: map memory, and the lock is held.
    unsafe {
        let row = if is_known == 0 { RowKey::NONE } else { (*stream).open_row };
        u64::from(Stream::push_call(stream, &row, end as u32))
    }
}

/// Whether a connection is to be followed, which stays so until it ends.
#[inline(always)]
fn is_chosen(sock: u64) -> bool {
    let one_in: u32 = global!(CONFIG.witness_one_in);
    if one_in <= 1 {
        return true;
    }
    if LEFT_OUT.get_ptr(&sock).is_some() {
        return false;
    }
    // SAFETY: takes nothing.
    if unsafe { bpf_get_prandom_u32() } % one_in == 0 {
        return true;
    }
    let _ = LEFT_OUT.insert(&sock, &0, 0);
    false
}

/// Forgets a connection.
#[inline(always)]
pub(crate) fn end(sock: u64) {
    let _ = STREAMS.remove(&sock);
    if global!(CONFIG.witness_one_in) > 1 {
        let _ = LEFT_OUT.remove(&sock);
    }
}

/// Begins to follow a connection, of which nothing is known before this number. `None` when it is left out.
#[inline(always)]
pub(crate) fn create(sock: u64, number: u32) -> Option<*mut Stream> {
    if !is_chosen(sock) {
        return None;
    }
    if STREAMS.insert(&sock, &NEW_STREAM, u64::from(BPF_NOEXIST)).is_err() {
        // Another has just begun to, or there is no room.
        let stream = STREAMS.get_ptr_mut(&sock);
        if stream.is_none() {
            lose(Loss::TransmissionsUnmatched);
        }
        return stream;
    }
    let stream = STREAMS.get_ptr_mut(&sock)?;
    // SAFETY: map memory. Who finds it before this is done finds numbers that do not fit, and of which nothing comes.
    unsafe { Stream::begin(stream, number) };
    Some(stream)
}

/// How often a lock is tried: who has it is on another CPU, and soon done. Unless it is on this one, and was interrupted:
/// nobody waits for that, as calls and transmissions have locks of their own.
const TRIES: u32 = 100;

/// 1 when the lock was taken. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_lock(lock: *mut u64) -> u64 {
    if lock.is_null() {
        return 0;
    }
    let mut wait = Wait { lock, is_taken: 0 };
    if try_lock(0, &raw mut wait) == 0 {
        // SAFETY: `try_lock` has the signature of a callback, and `wait` outlives the loop.
        unsafe { bpf_loop(TRIES, try_lock as *mut c_void, (&raw mut wait).cast(), 0) };
    }
    wait.is_taken
}

/// Somebody wants a lock.
#[repr(C)]
struct Wait {
    lock: *mut u64,
    is_taken: u64,
}

/// Tries to take it; 1 when it is taken.
#[inline(never)]
extern "C" fn try_lock(_index: u32, wait: *mut Wait) -> i64 {
    // SAFETY: `zc_lock` passes its own, with map memory in it.
    let wait = unsafe { &mut *wait };
    // Looked at first, as a swap takes the cache line away from who has the lock, also when it fails.
    // SAFETY: as above.
    if unsafe { wait.lock.read_volatile() } == 0 && swap_if(wait.lock, 0, 1) {
        wait.is_taken = 1;
        return 1;
    }
    0
}

/// Gives a lock back.
#[inline(always)]
pub(crate) fn unlock(lock: *mut u64) {
    // An atomic operation, so that what was written before is seen before.
    swap_if(lock, 1, 0);
}

/// How many steps are done in one go, and how often it is looked whether more has come.
const STEPS: u32 = 64;
const ROUNDS: u32 = 2;

/// Counts what both sides know. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn zc_match(stream: *mut Stream) -> u64 {
    if stream.is_null() {
        return 0;
    }
    let mut round = 0;
    while round < ROUNDS {
        // SAFETY: callers pass map memory.
        let lock = unsafe { &raw mut (*stream).match_lock };
        // SAFETY: as above.
        if !unsafe { Stream::has_match(stream) } || !swap_if(lock, 0, 1) {
            // Who has the lock looks again when it has given it back.
            return 0;
        }
        let mut step = 0;
        while step < STEPS {
            if zc_match_step(stream) == 0 {
                break;
            }
            step += 1;
        }
        unlock(lock);
        round += 1;
    }
    0
}

/// One step; 0 when it was the last. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_match_step(stream: *mut Stream) -> u64 {
    if stream.is_null() {
        return 0;
    }
    let mut share = Share { row: RowKey::NONE, bytes: 0, class: 0, doubtful: 0, reserved: 0 };
    // SAFETY: callers pass map memory and have the lock.
    if !unsafe { Stream::step(stream, &mut share) } {
        return 0;
    }
    if share.bytes == 0 || share.row.path == 0 {
        return 1;
    }
    if WITNESSED.get_ptr(&share.row).is_none() {
        let _ = WITNESSED.insert(&share.row, &UNSEEN, u64::from(BPF_NOEXIST));
    }
    let Some(witnessed) = WITNESSED.get_ptr_mut(&share.row) else {
        lose(Loss::TransmissionsUnmatched);
        return 1;
    };
    // SAFETY: map memory.
    unsafe {
        fetch_add(&raw mut (*witnessed).bytes[class_index(share.class)], share.bytes.into());
        if share.class & TAPPED != 0 {
            fetch_add(&raw mut (*witnessed).tapped, share.bytes.into());
        }
        if share.class & BOUNCED != 0 {
            fetch_add(&raw mut (*witnessed).bounced[class_index(share.class)], share.bytes.into());
        }
        if share.doubtful != 0 {
            fetch_add(&raw mut (*witnessed).doubtful, share.doubtful.into());
        }
    }
    1
}
