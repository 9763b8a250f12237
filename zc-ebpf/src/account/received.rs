//! Whether all bytes of a call were seen being copied out of the buffers of a socket.
//!
//! What is copied for the running thread is kept by CPU, as a look into a hash for each buffer would cost more than all the rest. When
//! the thread is switched away from the CPU, it takes with it what is there.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use zc_common::{
    path::{Kind, Path, kind_bits},
    thread::Thread,
};

use crate::{
    kernel::{Typed, typed},
    row, thread,
};

/// What was copied for the thread that runs on a CPU.
#[repr(C)]
struct Received {
    tid: u32,
    bytes: u32,
}

#[map]
static RECEIVED: PerCpuArray<Received> = PerCpuArray::with_max_entries(1, 0);

/// The running CPU's.
#[inline(always)]
fn here() -> Option<&'static mut Received> {
    // SAFETY: this CPU's, and nothing interrupts a program that uses it to begin another.
    RECEIVED.get_ptr_mut(0).map(|received| unsafe { &mut *received })
}

/// Bytes are copied for the running thread.
#[inline(always)]
pub(crate) fn add(tid: u32, bytes: u32) {
    let Some(received) = here() else { return };
    let before = if received.tid == tid { received.bytes } else { 0 };
    received.tid = tid;
    // One call moves less than 2 GiB (`MAX_RW_COUNT`).
    received.bytes = before.wrapping_add(bytes);
}

/// The thread leaves the CPU.
#[inline(always)]
pub(crate) fn keep(task: Typed) {
    let Some(received) = here() else { return };
    let tid: u32 = typed!(task, task_pid);
    if received.tid != tid || received.bytes == 0 {
        return;
    }
    if let Some(thread) = thread::find_as(task, tid) {
        // SAFETY: map memory, and its thread does nothing else now.
        unsafe { (*thread).received += u64::from(received.bytes) };
        received.bytes = 0;
    }
}

/// Whether the end is one that this is seen of.
#[inline(always)]
pub(super) fn is_seen_at(kind: u8) -> bool {
    const TCP: u8 = Kind::Tcp as u8;
    const UDP: u8 = Kind::Udp as u8;
    const UNIX: u8 = Kind::Unix as u8;
    matches!(kind_bits(kind), TCP | UDP | UNIX)
}

/// A call has copied `bytes` out of a socket, and the row that it was added to is its path's last. Most calls are as they
/// seem: nothing has to be noted of them.
#[inline(always)]
pub(super) fn settle(thread: *mut Thread, tid: u32, bytes: u64) {
    let Some(received) = here() else { return };
    let seen = if received.tid == tid { received.bytes } else { 0 };
    received.bytes = 0;
    // SAFETY: map memory, only this thread's.
    unsafe {
        if u64::from(seen) + (*thread).received != bytes {
            row::mark_unseen(thread, Path::Read);
        }
        (*thread).received = 0;
    }
}
