//! Calls that have both ends in one: sendfile, `copy_file_range`.

use zc_common::{
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::{inside, later::PIPE_IN, pipe::any_pipe};
use crate::{
    kernel::{current, typed, user_registers},
    object,
    row::{self, Entry},
    thread,
};

/// sendfile(destination, source, …) or `copy_file_range(source, offset, destination, …)`; returns what is left to do. A
/// global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_both_ends(thread: *mut Thread, path: u64, bytes: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    let registers = user_registers(task);
    let costs = thread::call_costs(thread, task, bytes);
    let first: u64 = typed!(registers, regs_arg0);
    let (path, source_fd, destination_fd) = if path == Path::Sendfile as u64 {
        (Path::Sendfile, typed!(registers, regs_arg1), first)
    } else {
        (Path::CopyFileRange, first, typed!(registers, regs_arg2))
    };
    let source = object::end_of(thread, task, source_fd);
    let destination = object::end_of(thread, task, destination_fd);
    let key = RowKey {
        path: path as u8,
        source_kind: source.kind,
        destination_kind: destination.kind,
        flags: source.source_flags() | destination.destination_flags(),
        source: source.object,
        destination: destination.object,
        ..row::key(thread, task)
    };
    let mut entry = Entry::new(key, bytes, costs);
    if inside::any(thread) {
        inside::zc_inside(thread, &raw mut entry);
    }
    row::add(thread, &mut entry);
    if entry.key.source != source.object || entry.key.destination != destination.object {
        object::forget_name(thread, source_fd);
        object::forget_name(thread, destination_fd);
    }
    // Of sendfile: the other one takes no pipes.
    if destination.kind == Kind::Pipe as u8 && bytes != 0 && any_pipe() { PIPE_IN } else { 0 }
}
