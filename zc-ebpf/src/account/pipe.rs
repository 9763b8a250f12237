//! splice, tee and vmsplice, and what joins them through the pipe between them.
//!
//! A call into a pipe is counted as a leg, and what it put there is remembered. A call out of the pipe takes the bytes
//! that it handed on and counts them in a row of both ends; user space takes these off the leg. Rules and arithmetic
//! are in `zc_common::pipe`.

mod held;
mod received;
pub(super) mod requests;
mod through;

use aya_ebpf::{macros::map, maps::PerCpuArray};
use zc_common::{
    object::ObjectKey,
    pair::Source,
    path::{Kind, Path, receives_plainly},
    pipe::{INTO, SHARES_SLOT, Segment, View},
    row::{MESSAGE_SOURCE, RING_DESTINATION, RING_SOURCE, RowKey, SOURCE_FLAGS},
    thread::{Thread, memory_id},
};

use self::{
    received::zc_pipe_received,
    requests::{order, zc_pipe_over},
    through::{drain, fill},
};
use super::{
    inside,
    memory::{self, Memory, Shape},
};
use crate::{
    kernel::{Typed, current, typed, user_registers},
    object::{self, End},
    row::{self, Entry},
    thread::{self, CallCosts},
};

/// One end of a call.
#[derive(Clone, Copy)]
#[repr(C)]
struct Side {
    end: End,
    /// Its descriptor, to look it up anew when its flow has no name any more.
    fd: u64,
    /// Which pipe it is; inode 0 when it is none.
    pipe: ObjectKey,
}

impl Side {
    #[inline(always)]
    fn is_pipe(&self) -> bool {
        self.end.kind == Kind::Pipe as u8
    }
}

/// Bytes that were moved, and what is left to do about them. One for each CPU: programs on the ends of calls are not
/// preempted, and the stack has no room for it.
#[repr(C)]
struct Move {
    from: Side,
    into: Side,
    entry: Entry,
    /// What is put into a pipe, or was taken out of one.
    segment: Segment,
    /// What was taken out of the pipe before `segment` was seen coming.
    early: Segment,
    view: View,
    /// Of the process.
    process: u64,
    bytes: u64,
    /// Bytes that are still to be taken.
    left: u64,
    /// Bytes that nothing is joined with.
    leg: u64,
    /// 1 when what is taken out of the pipe goes to an end that a row may have.
    joins: u32,
    /// Path and flags of the row that is a leg.
    path: u32,
    flags: u32,
    /// Whether that row found room.
    added: u32,
    /// How it stands among others on its pipes: `order`.
    order: u32,
    /// Always zero.
    reserved: u32,
    /// All ones when everything that is taken out of a pipe is copied; else 0.
    copied: u64,
    /// All ones when all of it is handed on by reference.
    by_reference: u64,
    /// Which chain the request is of, 0 when that is not known or when it is a call.
    chain: u64,
}

#[map]
static MOVE: PerCpuArray<Move> = PerCpuArray::with_max_entries(1, 0);

/// A call, or a request in a ring, that handed on bytes of pipes.
#[derive(Clone, Copy)]
#[repr(C)]
struct HandOn {
    path: Path,
    bytes: u64,
    /// 1, or 0 when the request was not a system call.
    calls: u32,
    /// Whether it was a request in a ring.
    in_ring: bool,
    costs: CallCosts,
}

/// A call of one of the three that has ended; returns what is left to do. A global function: the verifier looks at it
/// once, and calls that are not of this family are no dearer.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_pipe_call(thread: *mut Thread, path: u64, bytes: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    let registers = user_registers(task);
    // What is seen of direct I/O is for user memory, which these calls have nothing to do with.
    let costs = CallCosts { by_device: 0, ..thread::call_costs(thread, task, bytes) };
    let first: u64 = typed!(registers, regs_arg0);
    if path == Path::Vmsplice as u64 {
        return vmsplice(thread, task, first, typed!(registers, regs_arg1), bytes, costs).unwrap_or(0);
    }
    let Some(run) = MOVE.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let is_tee = path == Path::Tee as u64;
    let second = if is_tee { typed!(registers, regs_arg1) } else { typed!(registers, regs_arg2) };
    zc_pipe_side(thread, first, &raw mut run.from);
    zc_pipe_side(thread, second, &raw mut run.into);
    let path = if is_tee { Path::Tee } else { Path::Splice };
    run.is_call();
    run.begin(thread, task, &HandOn { path, bytes, calls: 1, in_ring: false, costs }, 0);
    if inside::any(thread) {
        inside::zc_inside(thread, &raw mut run.entry);
        run.copied = mask(run.entry.copied);
        run.by_reference = mask(run.entry.by_reference);
    }
    zc_pipe_move(thread, run);
    0
}

/// All ones, or 0 of 0. Without a branch, of which the verifier would follow both ways through all that comes.
#[inline(always)]
fn mask(bytes: u64) -> u64 {
    // One call moves less than 2 GiB (`MAX_RW_COUNT`).
    (bytes.wrapping_neg() as i64 >> 63) as u64
}

/// Finds out what descriptor `fd` of the running thread stands for. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_side(thread: *mut Thread, fd: u64, side: *mut Side) -> u64 {
    if thread.is_null() || side.is_null() {
        return 0;
    }
    let end = object::end_of(thread, current(), fd);
    // SAFETY: map memory.
    unsafe { *side = Side { end, fd, pipe: object::pipe_key(thread, fd) } };
    1
}

/// From memory into a pipe, by reference; or from a pipe into memory, which copies. Which of the two, says how the
/// descriptor was opened (`vmsplice_type`).
#[inline(always)]
fn vmsplice(
    thread: *mut Thread,
    task: Typed,
    fd: u64,
    vector: u64,
    bytes: u64,
    costs: CallCosts,
) -> Option<u64> {
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *MOVE.get_ptr_mut(0)? };
    let what = HandOn { path: Path::Vmsplice, bytes, calls: 1, in_ring: false, costs };
    let memory = Side {
        end: End { kind: Kind::Memory as u8, direct: false, object: 0 },
        fd: u64::MAX,
        pipe: ObjectKey { inode: 0, number: 0, generation: 0, root: 0 },
    };
    zc_pipe_side(thread, fd, &raw mut run.from);
    run.is_call();
    if object::is_writable(thread, fd) {
        run.into = run.from;
        run.from = memory;
        run.begin(thread, task, &what, 0);
        zc_pipe_move(thread, run);
        return None;
    }
    run.into = memory;
    run.begin(thread, task, &what, MESSAGE_SOURCE);
    if zc_pipe_move(thread, run) == 0 || bytes == 0 {
        return None;
    }
    let source = run.source(costs);
    Some(memory::put(thread, &Memory::new(Shape::Vector, vector), bytes, source))
}

impl Move {
    /// It is seen as soon as it has moved its bytes.
    #[inline(always)]
    fn is_call(&mut self) {
        self.order = order::CALL;
        self.chain = 0;
    }

    /// Makes the leg of the call, with `flags` beside those of its ends.
    #[inline(always)]
    fn begin(&mut self, thread: *mut Thread, task: Typed, what: &HandOn, flags: u8) {
        let (from, into) = (self.from.end, self.into.end);
        let mut flags = flags;
        // A pipe with O_DIRECT keeps packets apart: that has nothing to do with storage.
        if !self.from.is_pipe() {
            flags |= from.source_flags();
        }
        if !self.into.is_pipe() {
            flags |= into.destination_flags();
        }
        if what.in_ring {
            flags |= if self.into.is_pipe() { RING_SOURCE } else { RING_DESTINATION };
        }
        let key = RowKey {
            path: what.path as u8,
            source_kind: from.kind,
            destination_kind: into.kind,
            flags,
            source: from.object,
            destination: into.object,
            ..row::key(thread, task)
        };
        self.entry = Entry { calls: what.calls, ..Entry::new(key, what.bytes, what.costs) };
        self.path = what.path as u32;
        self.flags = u32::from(flags);
        self.added = 1;
        self.copied = 0;
        self.by_reference = 0;
        self.bytes = what.bytes;
        self.joins = u32::from(!self.into.is_pipe() && into.kind != Kind::Memory as u8);
        // SAFETY: map memory, only this thread's.
        let (tgid, start_ns) = unsafe { ((*thread).tgid, (*thread).process_start_ns) };
        self.process = memory_id(tgid, start_ns, 0);
        self.view.races = u32::from(what.in_ring || row::has_threads(tgid));
    }

    /// What the call put somewhere, by its leg.
    #[inline(always)]
    fn source(&self, costs: CallCosts) -> Source {
        Source {
            object: self.entry.key.source,
            kind: self.from.end.kind,
            flags: self.entry.key.flags & SOURCE_FLAGS,
            // A request counts here, too: user space knows it by its flags.
            calls: if self.order == order::CALL { self.entry.calls } else { 1 },
            voluntary: costs.voluntary,
            involuntary: costs.involuntary,
            minor: costs.minor,
            major: costs.major,
            device_read_bytes: costs.device_read_bytes,
            ..Source::NONE
        }
    }

    /// Counts the leg.
    #[inline(always)]
    fn count_leg(&mut self, thread: *mut Thread) {
        self.added = u32::from(row::add(thread, &mut self.entry));
        if self.entry.key.source != self.from.end.object || self.entry.key.destination != self.into.end.object
        {
            object::forget_name(thread, self.from.fd);
            object::forget_name(thread, self.into.fd);
        }
    }
}

/// Counts the call, and follows its bytes through pipes; 0 when it found no room. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_move(thread: *mut Thread, run: *mut Move) -> u64 {
    const UNIX: u8 = Kind::Unix as u8;
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let kind = run.from.end.kind;
    let is_socket = receives_plainly(kind) || kind == UNIX;
    if run.into.pipe.inode != 0 && is_socket && run.order == order::CALL {
        run.entry.by_reference = zc_pipe_received(thread, run);
    }
    // What tee hands on stays where it was, too.
    if run.bytes != 0 && run.from.pipe.inode != 0 && run.path != Path::Tee as u32 {
        drain(thread, run);
    } else {
        run.count_leg(thread);
    }
    if run.bytes == 0 || run.into.pipe.inode == 0 {
        return u64::from(run.added);
    }
    // Bytes that are in no row must not come back as part of another.
    if run.added == 0 {
        if run.order == order::NOTED {
            zc_pipe_over(&raw const run.into.pipe, INTO as u64, 1);
        }
    } else {
        run.segment = Segment {
            source: run.source(run.entry.own),
            process: run.process,
            bytes: run.bytes,
            pipe: run.entry.key.destination,
            path: run.entry.key.path,
            ..Segment::NONE
        };
        fill(thread, run);
    }
    u64::from(run.added)
}

/// Whether it matters to any pipe that bytes go into one or come out of one by a call of another family.
#[inline(always)]
pub(super) fn any_pipe() -> bool {
    held::any()
}

/// Bytes went into the pipe that the first argument of a call of another family stands for, or came out of it. A global
/// function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_pipe_passed(thread: *mut Thread, bytes: u64, is_in: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let Some(run) = MOVE.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let fd: u64 = typed!(user_registers(current()), regs_arg0);
    let pipe = object::pipe_key(thread, fd);
    if pipe.inode == 0 {
        return 0;
    }
    // SAFETY: map memory, only this thread's.
    run.view.races = u32::from(row::has_threads(unsafe { (*thread).tgid }));
    run.process = 0;
    run.bytes = bytes;
    run.joins = 0;
    run.is_call();
    if is_in != 0 {
        run.into.pipe = pipe;
        run.segment = Segment { bytes, flags: SHARES_SLOT, ..Segment::NONE };
        fill(thread, run);
    } else {
        run.from.pipe = pipe;
        drain(thread, run);
    }
    1
}
