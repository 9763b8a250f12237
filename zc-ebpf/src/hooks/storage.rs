//! Storage: I/O that really goes to a device, and which call or page fault it is for.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use zc_common::bounce::NOT;

use crate::{
    arch::{self, DataCall},
    folio::{ANONYMOUS, MARKS, first_page},
    hooks::bounce,
    kernel::{Typed, address_at, current, global, probe, probe_at, typed, user_registers},
    maps::is_traced,
    thread,
};

/// `block_bio_queue(struct bio *bio)`, in the context of whoever submits. It is not fired for what the page cache
/// has.
#[btf_tracepoint(function = "block_bio_queue")]
pub(crate) fn zc_storage(ctx: BtfTracePointContext) -> i32 {
    let task = current();
    let tgid: u32 = typed!(task, task_tgid);
    if !is_traced(tgid) {
        return 0;
    }
    let Some(thread) = thread::find_or_create(task, tgid) else { return 0 };
    let bytes = thread::storage_since(thread, task);
    let registers = user_registers(task);
    if let Some(thread) = thread::touch(task) {
        let direct = direct_bytes(ctx.arg(0), registers);
        let bounced = bounce::storage_that_bounces();
        // SAFETY: map memory, only this thread's.
        unsafe {
            (*thread).call_device_read_bytes += bytes;
            if (*thread).call_direct_bytes == 0 {
                (*thread).call_bounced = bounced;
            }
            (*thread).call_direct_bytes += direct;
        }
    } else if thread::is_outside_calls(registers) {
        // SAFETY: map memory, only this thread's.
        unsafe { (*thread).fault_device_read_bytes += bytes };
    }
    // What else reads (exec, a directory, read-ahead that was asked for) is in no row, only in the thread's total.
    0
}

/// How many bytes the device will write to or read from the memory of a process for this request, if it is one of
/// the call in progress, 0 when that is not sure.
///
/// What it takes: the data goes the way of the call; the file system's own request and not what a driver made of it;
/// no encryption on the way; a disk that is driven by requests and belongs to a bus, so that it moves data by itself:
/// loop, zram, brd, dm, md, nbd and pmem copy, compute or pass on, and are not one or not the other, and that was not seen
/// to bounce; and the first page is of user memory.
#[inline(always)]
fn direct_bytes(bio: Typed, registers: Typed) -> u64 {
    const REQ_OP_MASK: u32 = 0xFF;
    const REQ_OP_READ: u32 = 0;
    const REQ_OP_WRITE: u32 = 1;
    const BIO_CLONED: u16 = 1 << 1;
    if global!(OFFSETS.bio_bi_bdev) == 0
        || global!(OFFSETS.bdev_parent) == 0
        || global!(OFFSETS.page_mapping) == 0
    {
        return 0;
    }
    let (wanted, to_user) = match arch::data_call(typed!(registers, regs_number), registers) {
        Some(DataCall::Read | DataCall::ReadVector) => (REQ_OP_READ, true),
        Some(DataCall::Write | DataCall::WriteVector) => (REQ_OP_WRITE, true),
        // From a file that is open with O_DIRECT, into pages of the call's own (`copy_splice_read`).
        Some(DataCall::Sendfile) => (REQ_OP_READ, false),
        _ => return 0,
    };
    let operation: u32 = typed!(bio, bio_bi_opf);
    let flags: u16 = typed!(bio, bio_bi_flags);
    if operation & REQ_OP_MASK != wanted {
        return 0;
    }
    // Marked as a driver's clone are those, too, whose pages were not looked up for them (`bio_iov_bvec_set`): as of the call's own.
    // A driver makes its clones within the submission of another request.
    if flags & BIO_CLONED != 0 && (to_user || is_submitting()) {
        return 0;
    }
    if global!(OFFSETS.bio_bi_crypt_context) != 0 {
        let encryption: u64 = typed!(bio, bio_bi_crypt_context);
        if encryption != 0 {
            return 0;
        }
    }
    let vector: u64 = typed!(bio, bio_bi_io_vec);
    if !is_real_disk(bio) || !is_page_of(vector, to_user) {
        return 0;
    }
    let bytes: u32 = typed!(bio, bio_bi_size);
    bytes.into()
}

/// Whether the task is within the submission of a request to a device that makes others of it (`__submit_bio_noacct`).
#[inline(always)]
fn is_submitting() -> bool {
    if global!(OFFSETS.task_bio_list) == 0 {
        return true;
    }
    let list: u64 = typed!(current(), task_bio_list);
    list != 0
}

/// `device_add_disk` gives a disk of a bus its parent; a bio-based driver has `submit_bio`, the first of
/// `struct block_device_operations`.
#[inline(always)]
fn is_real_disk(bio: Typed) -> bool {
    let device: Typed = typed!(bio, bio_bi_bdev);
    if device.is_null() {
        return false;
    }
    let disk: Typed = typed!(device, bdev_bd_disk);
    if disk.is_null() {
        return false;
    }
    let whole: Typed = typed!(disk, gendisk_part0);
    let operations: u64 = typed!(disk, gendisk_fops);
    if whole.is_null() {
        return false;
    }
    let parent = address_at(whole, global!(OFFSETS.bdev_parent));
    parent != 0
        && probe_at::<u64>(operations) == Some(0)
        && (!bounce::has_bounced() || bounce::zc_how_bounced(parent) == NOT.into())
}

/// Whether the page of a `struct bio_vec` (its first member) is one of a process: anonymous, or of memory that
/// processes share (tmpfs, hugetlbfs), for which nothing else asks a disk. Or else, whether it is nobody's.
#[inline(always)]
fn is_page_of(vector: u64, user: bool) -> bool {
    try_page_of(vector, user).unwrap_or(false)
}

#[inline(always)]
fn try_page_of(vector: u64, user: bool) -> Option<bool> {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;
    let mapping: u64 = probe!(first_page(probe_at(vector)?)?, page_mapping)?;
    if !user {
        return Some(mapping == 0);
    }
    if mapping & MARKS != 0 {
        return Some(mapping & ANONYMOUS != 0);
    }
    if mapping == 0 {
        return Some(false);
    }
    let inode: u64 = probe!(mapping, mapping_host)?;
    let superblock: u64 = probe!(inode, inode_i_sb)?;
    let magic: u64 = probe!(superblock, super_s_magic)?;
    Some(matches!(magic, TMPFS_MAGIC | HUGETLBFS_MAGIC))
}
