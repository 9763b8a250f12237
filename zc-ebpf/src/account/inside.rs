//! What became of the bytes of a call, by what was seen inside the kernel. Rules are in `zc_common::inside`.

use zc_common::{
    inside::{Became, Inside},
    path::{Kind, Path},
    thread::Thread,
};

use crate::{hooks::bounce, row::Entry};

/// Whether anything was seen of the call that has ended.
#[inline(always)]
pub(super) fn any(thread: *mut Thread) -> bool {
    // SAFETY: map memory, only this thread's.
    unsafe { !(*thread).inside.is_none() }
}

/// Puts into the entry of a call what became of its bytes, and begins anew. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_inside(thread: *mut Thread, entry: *mut Entry) -> u64 {
    if thread.is_null() || entry.is_null() {
        return 0;
    }
    // SAFETY: callers pass references; map memory, only this thread's.
    unsafe {
        let entry = &mut *entry;
        let inside = (*thread).inside;
        (*thread).inside = Inside::NONE;
        let (Some(path), Some(to)) =
            (Path::from_u8(entry.key.path), Kind::from_u8(entry.key.destination_kind))
        else {
            return 0;
        };
        let by_device = entry.own.by_device != 0 && !bounce::is_found_since(thread);
        let Became { copied, by_reference } =
            inside.became(path, to, entry.key.flags, entry.bytes, by_device);
        entry.copied = copied;
        entry.by_reference = by_reference;
    }
    1
}
