//! Putting bytes into a pipe and taking them out of it.

use core::ptr::null_mut;

use zc_common::{
    loss::Loss,
    pair::Source,
    pipe::{EARLY, Fifo, INTO, OUT_OF, SEGMENTS, Segment, Step},
    row::{SOURCE_FLAGS, SPECIAL, THROUGH_UNNAMED},
    thread::Thread,
};

use super::{
    Move,
    held::{Held, look},
    requests::{order, zc_pipe_order},
};
use crate::{account::transmission, maps::lose, row, thread::CallCosts};

/// Takes the bytes of the call out of its pipe, and counts them: in rows with what put them there, where that is known,
/// and the rest as a leg.
#[inline(always)]
pub(super) fn drain(thread: *mut Thread, run: &mut Move) {
    zc_pipe_drain(thread, run);
}

/// A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_drain(thread: *mut Thread, run: *mut Move) -> u64 {
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    run.left = run.bytes;
    run.leg = 0;
    let Some(held) = Held::lock(&run.from.pipe) else {
        zc_pipe_rest(thread, run);
        return 0;
    };
    let mut fifo = held.find(&run.from.pipe);
    let mut follows = zc_pipe_order(fifo.unwrap_or(null_mut()), run, OUT_OF as u64) != 0;
    let may_be_early = run.joins != 0 && run.view.races != 0 && follows;
    if let Some(fifo) = fifo {
        if follows {
            // SAFETY: map memory, used by this program alone.
            follows = take(thread, run, unsafe { &mut *fifo });
        }
    } else if may_be_early {
        fifo = Some(held.find_or_claim(&run.from.pipe));
    }
    // What nobody is known to have put there may be seen coming yet.
    let early = if may_be_early && follows { run.left } else { 0 };
    zc_pipe_rest(thread, run);
    if let Some(fifo) = fifo
        && early != 0
    {
        // SAFETY: as above.
        let fifo = unsafe { &mut *fifo };
        if fifo.blind == 0 {
            let CallCosts { voluntary, involuntary, minor, major, device_read_bytes, .. } = run.entry.own;
            run.early = Segment {
                source: Source {
                    object: run.entry.key.destination,
                    kind: run.into.end.kind,
                    flags: run.entry.key.flags,
                    calls: if run.order == order::CALL { run.entry.calls } else { 1 },
                    voluntary,
                    involuntary,
                    minor,
                    major,
                    device_read_bytes,
                    ..Source::NONE
                },
                process: run.process,
                bytes: early,
                pipe: run.entry.key.source,
                path: run.entry.key.path,
                ..Segment::NONE
            };
            if !fifo.early.append(&run.early) {
                fifo.early.clear();
            }
        }
    }
    held.unlock(fifo);
    1
}

/// Takes what is known to be in the pipe; false when that does not agree with what the kernel has of it.
#[inline(always)]
fn take(thread: *mut Thread, run: &mut Move, fifo: &mut Fifo) -> bool {
    run.view.since = fifo.head;
    if !look(&run.from.pipe, &mut run.view) {
        if fifo.give_up(run.process) && run.joins != 0 {
            lose(Loss::PipesUnmatched);
        }
        return false;
    }
    if zc_pipe_check(fifo, run) == 0 {
        return false;
    }
    let mut index = 0;
    while index < SEGMENTS {
        if zc_pipe_take(fifo, run) == 0 {
            break;
        }
        zc_pipe_part(thread, run);
        index += 1;
    }
    true
}

/// [`Fifo::check_take`]. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_check(fifo: *mut Fifo, run: *mut Move) -> u64 {
    if fifo.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: map memory, used by this program alone.
    let (fifo, run) = unsafe { (&mut *fifo, &mut *run) };
    if let Step::Unknown { missed } = fifo.check_take(run.bytes, run.process, &run.view) {
        if missed && run.joins != 0 {
            lose(Loss::PipesUnmatched);
        }
        return 0;
    }
    1
}

/// Takes from the first segment; 0 when there is nothing to be taken. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_take(fifo: *mut Fifo, run: *mut Move) -> u64 {
    if fifo.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: map memory, used by this program alone.
    let (fifo, run) = unsafe { (&mut *fifo, &mut *run) };
    if !fifo.waiting.take(run.left, &mut run.segment) {
        return 0;
    }
    run.left -= run.segment.bytes;
    1
}

/// Counts what was taken from one segment. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_part(thread: *mut Thread, run: *mut Move) -> u64 {
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let Move { segment, entry, .. } = run;
    if run.joins == 0 || !segment.joins() || segment.process != run.process {
        run.leg += segment.bytes;
        return 0;
    }
    entry.key.path = segment.path;
    entry.key.source_kind = segment.source.kind;
    entry.key.source = segment.source.object;
    entry.key.destination = run.into.end.object;
    entry.key.flags = segment.source.flags | run.flags as u8 & !SOURCE_FLAGS;
    entry.key.through = through(segment);
    entry.bytes = segment.bytes;
    entry.copied = segment.bytes & run.copied;
    entry.by_reference = segment.bytes & run.by_reference;
    entry.taken_calls = segment.source.calls;
    entry.taken = costs_of(&segment.source);
    row::add(thread, entry);
    // The call and its costs are counted once.
    entry.calls = 0;
    entry.own = CallCosts::NONE;
    1
}

/// Counts the leg of what was joined with nothing, if there is any. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_rest(thread: *mut Thread, run: *mut Move) -> u64 {
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let bytes = run.leg + run.left;
    if run.process == 0 || bytes == 0 {
        return 0;
    }
    let entry = &mut run.entry;
    entry.key.path = run.path as u8;
    entry.key.source_kind = run.from.end.kind;
    entry.key.source = run.from.end.object;
    entry.key.destination = run.into.end.object;
    entry.key.flags = run.flags as u8;
    entry.key.through = 0;
    entry.bytes = bytes;
    entry.copied = bytes & run.copied;
    entry.by_reference = bytes & run.by_reference;
    entry.taken_calls = 0;
    entry.taken = CallCosts::NONE;
    run.count_leg(thread);
    1
}

/// Remembers what the call has put into its pipe.
#[inline(always)]
pub(super) fn fill(thread: *mut Thread, run: &mut Move) {
    zc_pipe_fill(thread, run);
}

/// A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_fill(thread: *mut Thread, run: *mut Move) -> u64 {
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let Some(held) = Held::lock(&run.into.pipe) else { return 0 };
    let mut found = held.find(&run.into.pipe);
    if zc_pipe_order(found.unwrap_or(null_mut()), run, INTO as u64) != 0 {
        if run.segment.joins() && found.is_none() {
            found = Some(held.find_or_claim(&run.into.pipe));
        }
        if let Some(fifo) = found {
            // SAFETY: map memory, used by this program alone.
            put(thread, run, unsafe { &mut *fifo });
        }
    }
    held.unlock(found);
    1
}

#[inline(always)]
fn put(thread: *mut Thread, run: &mut Move, fifo: &mut Fifo) {
    run.view.since = fifo.head;
    if !look(&run.into.pipe, &mut run.view) {
        // Counted when its bytes are taken out.
        fifo.give_up(run.segment.process);
        return;
    }
    run.segment.end = run.view.head;
    run.left = fifo.taken_early(run.segment.bytes, &run.view);
    let mut index = 0;
    while index < EARLY {
        if zc_pipe_take_early(fifo, run) == 0 {
            break;
        }
        zc_pipe_late(thread, run);
        index += 1;
    }
    zc_pipe_push(fifo, run);
}

/// Takes from what was taken early. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_take_early(fifo: *mut Fifo, run: *mut Move) -> u64 {
    if fifo.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: map memory, used by this program alone.
    let (fifo, run) = unsafe { (&mut *fifo, &mut *run) };
    if !fifo.early.take(run.left, &mut run.early) {
        return 0;
    }
    run.left -= run.early.bytes;
    1
}

/// [`Fifo::push`]. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_push(fifo: *mut Fifo, run: *mut Move) -> u64 {
    if fifo.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: map memory, used by this program alone.
    let (fifo, run) = unsafe { (&mut *fifo, &mut *run) };
    fifo.push(&run.segment, &run.view);
    1
}

/// Joins what was taken out of a pipe with what has put it there, now that this is seen. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_late(thread: *mut Thread, run: *mut Move) -> u64 {
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    let Move { segment, early, entry, .. } = run;
    segment.bytes = segment.bytes.saturating_sub(early.bytes);
    // Both legs have to be found by what the row says of them.
    if !segment.joins() || segment.process != early.process || segment.pipe != early.pipe {
        return 0;
    }
    entry.key.path = segment.path;
    entry.key.source_kind = segment.source.kind;
    entry.key.source = segment.source.object;
    entry.key.destination_kind = early.source.kind;
    entry.key.destination = early.source.object;
    entry.key.flags = segment.source.flags | early.source.flags & !SOURCE_FLAGS | SPECIAL;
    entry.key.through = through(segment);
    entry.copied = 0;
    entry.by_reference = 0;
    entry.bytes = early.bytes;
    entry.calls = early.source.calls;
    entry.own = costs_of(&early.source);
    entry.taken_calls = segment.source.calls;
    entry.taken = costs_of(&segment.source);
    row::add(thread, entry);
    // It was sent before, by a call that has ended.
    transmission::forget(thread);
    segment.source = segment.source.without_costs();
    1
}

#[inline(always)]
fn through(segment: &Segment) -> u32 {
    if segment.pipe == 0 { THROUGH_UNNAMED } else { segment.pipe }
}

#[inline(always)]
fn costs_of(source: &Source) -> CallCosts {
    let Source { voluntary, involuntary, minor, major, device_read_bytes, .. } = *source;
    CallCosts { voluntary, involuntary, minor, major, device_read_bytes, by_device: 0 }
}
