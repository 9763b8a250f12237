//! `TCP_ZEROCOPY_RECEIVE`: pages of a connection that are mapped into the program's memory instead of copied there.

use zc_common::{
    path::{Kind, Path},
    row::RowKey,
    thread::Thread,
};

use super::memory::{self, Memory, Shape};
use crate::{
    kernel::{current, probe_user, typed, user_registers},
    object,
    row::{self, Entry},
    thread,
};

/// Of `struct tcp_zerocopy_receive`: `length`, how many bytes were mapped.
const LENGTH: u64 = 8;
/// `copybuf_address`, followed by `copybuf_len`: where the rest was copied to, and how much, or an error.
const COPY: u64 = 24;
/// As much of the structure has to be there for that (Linux 5.11).
const COPY_END: u32 = 36;

/// getsockopt(fd, `IPPROTO_TCP`, `TCP_ZEROCOPY_RECEIVE`, structure, its length); returns what is left to do. The kernel
/// says in the structure what it has done. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_received_zerocopy(thread: *mut Thread, succeeded: u64) -> u64 {
    if thread.is_null() {
        return 0;
    }
    let task = current();
    let registers = user_registers(task);
    let fd: u64 = typed!(registers, regs_arg0);
    let answer: u64 = typed!(registers, regs_arg3);
    let len: u64 = typed!(registers, regs_arg4);
    let end = object::end_of(thread, task, fd);
    let costs = thread::CallCosts { by_device: 0, ..thread::call_costs(thread, task, 0) };
    let mut mapped = 0;
    let mut copied = 0;
    let mut place = 0;
    if succeeded != 0 {
        mapped = probe_user::<u32>(answer + LENGTH).unwrap_or(0).into();
        if probe_user::<u32>(len).unwrap_or(0) >= COPY_END {
            place = probe_user::<u64>(answer + COPY).unwrap_or(0);
            let len: i32 = probe_user(answer + COPY + 8).unwrap_or(0);
            copied = if len > 0 { len as u64 } else { 0 };
        }
    }
    let key = RowKey {
        path: Path::RecvZerocopy as u8,
        source_kind: end.kind,
        destination_kind: Kind::Memory as u8,
        source: end.object,
        ..row::key(thread, task)
    };
    let mut entry = Entry { copied, by_reference: mapped, ..Entry::new(key, mapped + copied, costs) };
    row::add(thread, &mut entry);
    if entry.key.source != end.object {
        object::forget_name(thread, fd);
    }
    // What reads had put there does not come from them any more. Memory that is mapped so cannot be read into.
    if copied == 0 { 0 } else { memory::overwrite(thread, &Memory::new(Shape::Buffer, place), copied) }
}
