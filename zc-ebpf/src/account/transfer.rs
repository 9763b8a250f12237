//! Calls that have both ends in one: sendfile, `copy_file_range`.

use zc_common::{
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::pipe;
use crate::{
    kernel::{Typed, typed},
    object,
    row::{self, Entry},
    thread::CallCosts,
};

/// sendfile(destination, source, …) or `copy_file_range(source, offset, destination, …)`.
#[inline(always)]
pub(super) fn both_ends(
    thread: *mut Thread,
    task: Typed,
    registers: Typed,
    bytes: u64,
    own: CallCosts,
    is_sendfile: bool,
) {
    let first: u64 = typed!(registers, regs_arg0);
    let (path, source_fd, destination_fd) = if is_sendfile {
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
    if destination.kind == Kind::Pipe as u8 && bytes != 0 {
        pipe::passed(thread, destination_fd, bytes, pipe::Way::In);
    }
    let mut entry = Entry::new(key, bytes, own);
    row::add(thread, &mut entry);
    if entry.key.source != source.object || entry.key.destination != destination.object {
        object::forget_name(thread, source_fd);
        object::forget_name(thread, destination_fd);
    }
}
