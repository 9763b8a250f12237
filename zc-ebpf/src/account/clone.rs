//! Clones: `FICLONE` and `FICLONERANGE`, by which a file shares extents of another.

use zc_common::{
    path::Path,
    row::{RowKey, SPECIAL},
    thread::{DESCRIPTORS, Thread},
};

use crate::{
    arch,
    kernel::{Typed, current, probe, probe_user, typed, user_registers},
    object,
    row::{self, Entry},
    thread,
};

/// `struct file_clone_range`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    source_fd: u64,
    source_offset: u64,
    /// 0 stands for all from the offset on.
    source_len: u64,
    destination_offset: u64,
}

/// ioctl(destination, `FICLONE`, source) or ioctl(destination, `FICLONERANGE`, range). A global function: the verifier
/// looks at it once. `succeeded` is 0 when the call failed, and then nothing was shared: a clone is whole or is an
/// error (`ioctl_file_clone`). A failure is in no row: programs ask for a clone to learn whether there are any.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_cloned(thread: *mut Thread, succeeded: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    if succeeded == 0 {
        // What it cost must not be the next call's.
        thread::call_costs(thread, task, 0);
        return 0;
    }
    let registers = user_registers(task);
    let argument: u64 = typed!(registers, regs_arg2);
    let mut range = Range { source_fd: argument, source_offset: 0, source_len: 0, destination_offset: 0 };
    if !arch::clones_whole(registers) {
        let Some(given) = probe_user::<Range>(argument) else { return 0 };
        range = given;
    }
    account(thread, task, registers, &range);
    1
}

#[inline(always)]
fn account(thread: *mut Thread, task: Typed, registers: Typed, range: &Range) {
    let source = object::end_of(thread, task, range.source_fd);
    let mut bytes = range.source_len;
    if bytes == 0 {
        // SAFETY: map memory, only this thread's; the look at the source has filled the place.
        let inode = unsafe { (*thread).descriptors[range.source_fd as usize & (DESCRIPTORS - 1)].inode };
        let size: u64 = probe!(inode, inode_i_size).unwrap_or(0);
        bytes = size.saturating_sub(range.source_offset);
    }
    let destination_fd: u64 = typed!(registers, regs_arg0);
    let destination = object::end_of(thread, task, destination_fd);
    let key = RowKey {
        path: Path::CopyFileRange as u8,
        source_kind: source.kind,
        destination_kind: destination.kind,
        flags: source.source_flags() | destination.destination_flags() | SPECIAL,
        source: source.object,
        destination: destination.object,
        ..row::key(thread, task)
    };
    let costs = thread::call_costs(thread, task, bytes);
    let mut entry = Entry { by_reference: bytes, ..Entry::new(key, bytes, costs) };
    row::add(thread, &mut entry);
    if entry.key.source != source.object || entry.key.destination != destination.object {
        object::forget_name(thread, range.source_fd);
        object::forget_name(thread, destination_fd);
    }
}
