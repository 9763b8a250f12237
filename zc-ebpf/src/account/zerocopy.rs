//! Zero-copy sends that the kernel will report on: which rows their bytes are in, until the report comes.
//!
//! A report may come on any CPU and in any context, long after the call or before its end. So the send is kept first
//! and then held against reports that came early, and a report is kept first when there is no such send, and then
//! held against the sends once more: one of the two finds the other, and who takes the send out counts it.

mod reports;
mod requests;

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::bpf_loop,
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use zc_common::{
    loss::Loss,
    path::Kind,
    row::RowKey,
    thread::Thread,
    zerocopy::{Send, SendKey, Sender, UNKNOWN},
};

pub(crate) use self::reports::{CERTAIN, zc_reported};
use self::reports::{count_waiting, zc_look_for_early};
pub(super) use self::requests::{begin_request, requested, zc_notified, zc_requested};
use super::{leg::Leg, memory::Shape};
use crate::{
    kernel::{current, global, probe, probe_at, probe_user, typed},
    maps::{lose, lose_many},
    object,
};

/// Sends on which the kernel has not reported.
#[map]
static SENDS: LruHashMap<SendKey, Send> = LruHashMap::with_max_entries(16_384, 0);

/// Sockets that send so.
#[map]
pub(crate) static SENDERS: LruHashMap<u64, Sender> = LruHashMap::with_max_entries(8192, 0);

/// Of how many rows the bytes of a send are followed; a power of two.
const PARTS: usize = 8;

/// How many messages of a call are followed.
const MESSAGES_MAX: u32 = 1024;

/// The call or request that is being counted. Programs on the ends of calls are not preempted.
#[repr(C)]
struct Sent {
    /// The socket; of a request, its ring.
    sock: u64,
    /// Its inode number; of a request, the name that the program gave it.
    number: u64,
    /// Of a request: not zero when the kernel will say whether it copied, and not only that it is done.
    is_reported: u64,
    /// Of several messages: the first one, or the next.
    message: u64,
    messages: u64,
    /// How many sends there are, and which is the next of them.
    sends: u32,
    next: u32,
    /// Bytes of the messages.
    bytes: u64,
    /// Not zero when messages without bytes are sends, too.
    counts_empty: u64,
    /// How many of `part` are used.
    parts: u64,
    part: [Part; PARTS],
}

/// Bytes in a row.
#[repr(C)]
#[derive(Clone, Copy)]
struct Part {
    row: RowKey,
    bytes: u64,
}

#[map]
static SENT: PerCpuArray<Sent> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn place() -> Option<&'static mut Sent> {
    // SAFETY: this CPU's, and nothing interrupts a program on the end of a call or request to begin another.
    SENT.get_ptr_mut(0).map(|sent| unsafe { &mut *sent })
}

/// Notes that what `leg` sends will be reported on, if it sends something; `sock` is its socket. Only sockets of the internet have a
/// tracepoint where they are.
#[inline(always)]
pub(super) fn begin_call(thread: *mut Thread, leg: &mut Leg, sock: u64) {
    const TCP: u8 = Kind::Tcp as u8;
    const UDP: u8 = Kind::Udp as u8;
    if global!(OFFSETS.sock_sk_zckey) == 0 || !matches!(leg.end.kind, TCP | UDP) {
        return;
    }
    let Some(sent) = place() else { return };
    sent.sock = sock;
    sent.number = object::number_of(thread, leg.fd);
    sent.message = leg.memory.address;
    sent.messages = if leg.memory.shape == Shape::Messages { leg.memory.messages.into() } else { 0 };
    // The header of a datagram is data enough for the kernel (`__ip_append_data`).
    sent.counts_empty = u64::from(leg.end.kind == UDP);
    sent.parts = 0;
    leg.costs.by_device = 1;
}

/// Bytes of it went to a row of the thread's.
#[inline(always)]
pub(crate) fn note(thread: *mut Thread, row: &RowKey, bytes: u64) {
    let Some(sent) = place() else { return };
    let index = sent.parts as usize;
    if bytes == 0 {
        return;
    }
    if index >= PARTS {
        lose(Loss::ZerocopyUnmatched);
        return;
    }
    // SAFETY: map memory, only this thread's.
    let (tgid, start_ns) = unsafe { ((*thread).tgid, (*thread).process_start_ns) };
    sent.part[index & (PARTS - 1)] =
        Part { row: RowKey { tid: tgid, thread_start_ns: start_ns, ..*row }, bytes };
    sent.parts += 1;
}

/// Everything of a call has been noted: from here on it can be reported on. A global function: the verifier looks at it
/// once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_sent(thread: *mut Thread) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let Some(sent) = place() else { return 0 };
    sent.sends = 1;
    if sent.messages != 0 {
        sent.sends = 0;
        sent.bytes = 0;
        // SAFETY: `count_next` has the signature of a callback.
        unsafe { bpf_loop(MESSAGES_MAX, count_next as *mut c_void, core::ptr::null_mut(), 0) };
    }
    let Some(sent) = place() else { return 0 };
    // SAFETY: map memory, only this thread's.
    let start_ns = unsafe { (*thread).start_ns };
    let first = number(sent, start_ns);
    let is_whole = sent.messages == 0 || sent.parts == 1 && sent.part[0].bytes == sent.bytes;
    if sent.parts == 0 {
        // It may have had a number all the same: a datagram without payload.
        return 0;
    }
    if first == UNKNOWN || !is_whole {
        lose_many(Loss::ZerocopyUnmatched, sent.sends.into());
        return 0;
    }
    let first = first as u32;
    sent.next = first;
    if sent.messages == 0 {
        let shared_from = shared_from(sent.sock, sent.counts_empty != 0, first);
        zc_keep(first.into(), shared_from.into());
        zc_look_for_early(sent.sock, sent.number, first.into());
    } else {
        sent.message -= sent.messages * MMSGHDR_BYTES;
        // SAFETY: `keep_next` has the signature of a callback.
        unsafe { bpf_loop(MESSAGES_MAX, keep_next as *mut c_void, core::ptr::null_mut(), 0) };
    }
    1
}

/// Of `struct mmsghdr`: `msg_len`, behind the `user_msghdr`.
const MSG_LEN: u64 = 56;
/// Size of a `struct mmsghdr`.
const MMSGHDR_BYTES: u64 = 64;

/// Counts a message of a call, and its bytes.
#[inline(never)]
extern "C" fn count_next(index: u32, _context: *mut c_void) -> i64 {
    let Some(sent) = place() else { return 1 };
    if u64::from(index) >= sent.messages {
        return 1;
    }
    let bytes: u32 = probe_user(sent.message + MSG_LEN).unwrap_or(0);
    sent.bytes += u64::from(bytes);
    sent.sends += u32::from(bytes != 0 || sent.counts_empty != 0);
    sent.message += MMSGHDR_BYTES;
    0
}

/// Keeps a message of a call.
#[inline(never)]
extern "C" fn keep_next(index: u32, _context: *mut c_void) -> i64 {
    let Some(sent) = place() else { return 1 };
    if u64::from(index) >= sent.messages {
        return 1;
    }
    let bytes: u32 = probe_user(sent.message + MSG_LEN).unwrap_or(0);
    sent.message += MMSGHDR_BYTES;
    let id = sent.next;
    if bytes != 0 {
        sent.part[0].bytes = bytes.into();
        // Only of the last one it could still be seen with which it shares a report.
        zc_keep(id.into(), id.into());
        zc_look_for_early(sent.sock, sent.number, id.into());
    }
    let Some(sent) = place() else { return 1 };
    sent.next += u32::from(bytes != 0 || sent.counts_empty != 0);
    0
}

/// Which number the first of the sends has, and what the next will have to be.
#[inline(always)]
fn number(sent: &Sent, start_ns: u64) -> u64 {
    let tid: u32 = typed!(current(), task_pid);
    let Some(counter) = probe!(sent.sock, sock_sk_zckey) else { return UNKNOWN };
    let counter: u32 = counter;
    let mut new =
        Sender { number: sent.number, thread_start_ns: start_ns, tid, counter, waiting: 0, has_waiting: 0 };
    let Some(known) = SENDERS.get_ptr_mut(&sent.sock) else {
        let _ = SENDERS.insert(&sent.sock, &new, u64::from(BPF_ANY));
        return Sender { tid: 0, ..new }.first_of((tid, start_ns), counter, sent.sends);
    };
    // SAFETY: map memory. What is known is read in one order and written in the other: a counter is never older than the
    // thread that it is of.
    unsafe {
        if (&raw const (*known).number).read_volatile() != sent.number {
            // Another socket had this address.
            let _ = SENDERS.insert(&sent.sock, &new, u64::from(BPF_ANY));
            return Sender { tid: 0, ..new }.first_of((tid, start_ns), counter, sent.sends);
        }
        new.counter = (&raw const (*known).counter).read_volatile();
        new.tid = (&raw const (*known).tid).read_volatile();
        new.thread_start_ns = (&raw const (*known).thread_start_ns).read_volatile();
        (&raw mut (*known).tid).write_volatile(tid);
        (&raw mut (*known).thread_start_ns).write_volatile(start_ns);
        (&raw mut (*known).counter).write_volatile(counter);
    }
    new.first_of((tid, start_ns), counter, sent.sends)
}

/// The first send with which send `id`, which was made last, shares a report; itself when that cannot be seen.
///
/// They share the `struct ubuf_info_msgzc` that the last buffer of the socket holds, if it holds one: the last that waits
/// to be sent, or else, of TCP, the last that was sent and is not acknowledged.
#[inline(always)]
fn shared_from(sock: u64, is_udp: bool, id: u32) -> u32 {
    let queue = sock + u64::from(global!(OFFSETS.sock_sk_write_queue));
    let mut last: u64 = probe!(queue, queue_prev).unwrap_or(0);
    if last == queue {
        if is_udp {
            return id;
        }
        // `struct list_head`: `next`, `prev`.
        let sent = sock + u64::from(global!(OFFSETS.tcp_tsorted_sent_queue));
        let anchor: u64 = probe_at(sent + 8).unwrap_or(0);
        if anchor == sent {
            return id;
        }
        last = anchor - u64::from(global!(OFFSETS.skb_tsorted_anchor));
    }
    let head: u64 = probe!(last, skb_head).unwrap_or(0);
    let end: u32 = probe!(last, skb_end).unwrap_or(0);
    let shared = head + u64::from(end);
    // `SKBFL_ZEROCOPY_ENABLE` in `flags`, the first member.
    let flags: u8 = probe_at(shared).unwrap_or(0);
    if flags & 1 == 0 {
        return id;
    }
    let info: u64 = probe!(shared, skb_shared_destructor_arg).unwrap_or(0);
    let first: u32 = probe!(info, ubuf_id).unwrap_or(id);
    let len: u16 = probe!(info, ubuf_len).unwrap_or(0);
    // Is the last of those that share it.
    if id.wrapping_sub(first).wrapping_add(1) == u32::from(len) { first } else { id }
}

/// Keeps the parts of a send, that with number 0 last: when it is found, all are there. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_keep(id: u64, first: u64) -> u64 {
    let Some(sent) = place() else { return 0 };
    let mut kept = Kept { id: id as u32, first: first as u32 };
    // SAFETY: `keep_part` has the signature of a callback, and `kept` outlives the loop.
    unsafe { bpf_loop(sent.parts as u32, keep_part as *mut c_void, (&raw mut kept).cast(), 0) };
    1
}

/// A send that is kept, and the first that shares its report.
#[repr(C)]
#[derive(Clone, Copy)]
struct Kept {
    id: u32,
    first: u32,
}

/// Keeps one part of it.
#[inline(never)]
extern "C" fn keep_part(index: u32, kept: *mut Kept) -> i64 {
    let Some(sent) = place() else { return 1 };
    // SAFETY: `zc_keep` passes its own.
    let Kept { id, first } = unsafe { *kept };
    let parts = sent.parts as u32;
    if index >= PARTS as u32 {
        return 1;
    }
    let Part { row, bytes } = sent.part[index as usize & (PARTS - 1)];
    let key = SendKey { sock: sent.sock, number: sent.number, id, part: parts.wrapping_sub(index + 1) };
    let send = Send { row, bytes, first, parts };
    if SENDS.insert(&key, &send, u64::from(BPF_ANY)).is_ok() {
        count_waiting(1);
    } else {
        lose(Loss::ZerocopyUnmatched);
    }
    0
}
