//! Linux AIO (libaio): `io_submit`, and `io_getevents` and `io_pgetevents`, which reap.
//!
//! A transfer is accounted for when it is reaped: the event has its result and where its `struct iocb` is, in which
//! the kernel changes nothing. The kernel does not count such bytes in `rchar` and `wchar` (`fs/aio.c`).

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_loop, macros::map, maps::PerCpuArray};
use zc_common::{
    loss::Loss,
    row::{AIO_DESTINATION, AIO_SOURCE},
    thread::Thread,
};

use super::{
    later,
    leg::{self, Leg},
    memory::{Memory, Shape},
};
use crate::{
    arch,
    kernel::{Typed, current, fetch_add, probe_user, typed},
    maps::{PROCESSES, lose},
    object,
    thread::{self, CallCosts},
};

/// How many events of one call are followed.
const EVENTS_MAX: u32 = 4096;

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;

/// `struct iocb`, as far as it matters.
#[repr(C)]
#[derive(Clone, Copy)]
struct Iocb {
    data: u64,
    key_and_flags: u64,
    opcode: u16,
    priority: u16,
    fd: u32,
    address: u64,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Event {
    data: u64,
    iocb: u64,
    result: i64,
    result_too: i64,
}

/// Where a call that reaps has come to.
#[repr(C)]
struct Reap {
    /// Next event.
    events: u64,
    left: u64,
}

#[map]
static REAP: PerCpuArray<Reap> = PerCpuArray::with_max_entries(1, 0);

/// Accounts for `io_submit` or a call that reaps, which has just ended with `result`, the number of requests. Nothing is
/// left to do then.
///
/// Not a function of its own: each event is a leg, and a leg needs many frames.
#[inline(always)]
pub(super) fn call_ended(thread: *mut Thread, task: Typed, registers: Typed, result: i64) -> u64 {
    // What falls within the call is of all requests, and goes to none.
    let _ = thread::call_costs(thread, task, 0);
    if result <= 0 {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    let process = PROCESSES.get_ptr_mut(unsafe { (*thread).tgid });
    let is_submit = arch::is_aio_submit(typed!(registers, regs_number));
    if let Some(process) = process {
        let change = if is_submit { result } else { -result };
        // SAFETY: map memory.
        fetch_add(unsafe { &raw mut (*process).aio }, change as u64);
    }
    if !is_submit {
        reaped(typed!(registers, regs_arg3), result as u64);
    }
    0
}

/// `io_getevents(context, least, most, events, …)` or `io_pgetevents`, with `number` events.
#[inline(always)]
fn reaped(events: u64, number: u64) {
    let Some(reap) = REAP.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's, and nothing interrupts a call's end to begin another.
    let reap = unsafe { &mut *reap };
    reap.events = events;
    reap.left = number;
    // SAFETY: `next` has the signature of a callback.
    unsafe { bpf_loop(EVENTS_MAX, next as *mut c_void, core::ptr::null_mut(), 0) };
    let Some(reap) = REAP.get_ptr_mut(0) else { return };
    // SAFETY: as above.
    if unsafe { (*reap).left } != 0 {
        lose(Loss::AioUnread);
    }
}

const CONTINUE: i64 = 0;
const STOP: i64 = 1;

/// Little of the stack is left below it: the walk of a leg takes nearly all.
#[inline(never)]
extern "C" fn next(_index: u32, _context: *mut c_void) -> i64 {
    let Some(thread) = thread::find(current()) else { return STOP };
    let what = zc_aio_event(thread);
    if what == NO_EVENT {
        return STOP;
    }
    let left = leg::count(thread, what);
    // What went through a pipe this way is seen when a call on the pipe ends, as what others did to it.
    later::finish(thread, left);
    CONTINUE
}

/// There is no next event, or it cannot be read.
const NO_EVENT: u64 = u64::MAX;

/// Makes out the leg of the next event; returns what it is. A global function: its stack is not below that of the walk.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_aio_event(thread: *mut Thread) -> u64 {
    let Some(reap) = REAP.get_ptr_mut(0) else { return NO_EVENT };
    // SAFETY: this CPU's, as above.
    let reap = unsafe { &mut *reap };
    if thread.is_null() || reap.left == 0 {
        return NO_EVENT;
    }
    let Some(event) = probe_user::<Event>(reap.events) else { return NO_EVENT };
    let Some(iocb) = probe_user::<Iocb>(event.iocb) else { return NO_EVENT };
    reap.events += size_of::<Event>() as u64;
    reap.left -= 1;
    let is_read = matches!(iocb.opcode, PREAD | PREADV);
    if event.result <= 0 || !is_read && !matches!(iocb.opcode, PWRITE | PWRITEV) {
        return leg::NOTHING;
    }
    let fd = u64::from(iocb.fd);
    let shape = if iocb.opcode >= PREADV { Shape::Vector } else { Shape::Buffer };
    let Some(place) = leg::place() else { return NO_EVENT };
    *place = Leg {
        end: object::end_of(thread, current(), fd),
        fd,
        memory: Memory::new(shape, iocb.address),
        bytes: event.result as u64,
        calls: 0,
        flags: if is_read { AIO_SOURCE } else { AIO_DESTINATION },
        costs: CallCosts::NONE,
    };
    if is_read { leg::READ } else { leg::WRITE }
}
