//! splice and tee by requests in rings (`IORING_OP_SPLICE`, `IORING_OP_TEE`).
//!
//! A worker moves their bytes, and what it moved is seen when the completion is posted. So each is noted at its
//! submission: at the pipes that it is about, where its completion finds out whether its place among the others is
//! known. Rules are in `zc_common::pipe` (`UnderWay`).

use aya_ebpf::{
    bindings::BPF_ANY,
    macros::map,
    maps::{Array, LruHashMap},
};
use zc_common::{
    loss::Loss,
    object::ObjectKey,
    path::{Kind, Path},
    pipe::{Fifo, INTO, OUT_OF, View},
    ring::{FIXED_FILE, HARDLINK, LINK, SPLICE_IN_FIXED, TEE},
    thread::Thread,
};

use super::{
    HandOn, MOVE, Move, Side,
    held::{Held, look},
};
use crate::{
    kernel::{current, fetch_add, global, probe, probe_at, typed},
    maps::lose,
    object::{self, NO_DESCRIPTOR},
    thread::{self, CallCosts},
};

/// How what moved bytes stands among others on a pipe.
pub(super) mod order {
    /// It is a call, and as new as can be.
    pub(in super::super) const CALL: u32 = 0;
    /// It is a request that was noted.
    pub(in super::super) const NOTED: u32 = 1;
    /// It is a request of which the pipes were not known at its submission, or were others.
    pub(in super::super) const UNKNOWN: u32 = 2;
}

/// A request that is under way.
#[derive(Clone, Copy)]
#[repr(C)]
struct Request {
    /// Which chain it is of, never 0.
    chain: u64,
    /// The pipes that it takes bytes out of and puts them into; inode 0 where there is none.
    out_of: ObjectKey,
    into: ObjectKey,
}

/// By the address of the `struct io_kiocb`.
#[map]
static REQUESTS: LruHashMap<u64, Request> = LruHashMap::with_max_entries(4096, 0);

/// The chain that is being submitted, by the address of the ring.
#[map]
static CHAINS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// How many chains there were; a request that is in none is a chain of its own.
#[map]
static CHAIN_COUNT: Array<u64> = Array::with_max_entries(1, 0);

const NO_PIPE: ObjectKey = ObjectKey { inode: 0, number: 0, generation: 0, root: 0 };

/// Notes a request that was submitted.
#[inline(always)]
pub(in super::super) fn submitted(request: u64, opcode: u8, flags: u32) {
    if zc_pipe_submitted(request, opcode.into(), flags.into()) != 0 {
        zc_pipe_begun(request, OUT_OF as u64);
        zc_pipe_begun(request, INTO as u64);
    }
}

/// Notes a request that may move bytes of pipes, or is in a chain; `flags` are its own. 1 when its pipes are to be told.
/// A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_submitted(request: u64, opcode: u64, flags: u64) -> u64 {
    let flags = flags as u32;
    let Some(chain) = chain_of(request, flags) else { return 0 };
    if !zc_common::ring::is_splice(opcode as u8) {
        return 0;
    }
    // One at the same address is over, and its end was not seen.
    forget(request, true);
    let ring: u64 = probe!(request, io_kiocb_ctx).unwrap_or(0);
    let fd: u32 = probe!(request, io_kiocb_cqe_fd).unwrap_or(u32::MAX);
    let into = object::pipe_of_file(file_of(ring, fd, flags & FIXED_FILE != 0).unwrap_or(0));
    let out_of = if opcode as u8 == TEE { NO_PIPE } else { object::pipe_of_file(source_of(request, ring)) };
    let noted = Request { chain, out_of, into };
    u64::from(REQUESTS.insert(&request, &noted, u64::from(BPF_ANY)).is_ok())
}

/// The chain that a request is of, which has just been submitted and is not part of it yet.
#[inline(always)]
fn chain_of(request: u64, flags: u32) -> Option<u64> {
    let ring: u64 = probe!(request, io_kiocb_ctx)?;
    let head_at = global!(OFFSETS.io_ring_ctx_submit_state_link_head);
    if head_at == 0 {
        return None;
    }
    let head: u64 = probe_at(ring + u64::from(head_at))?;
    if head != 0 {
        // SAFETY: map memory.
        return CHAINS.get_ptr(&ring).map(|chain| unsafe { *chain });
    }
    let chain = fetch_add(CHAIN_COUNT.get_ptr_mut(0)?, 1) + 1;
    if flags & (LINK | HARDLINK) != 0 {
        CHAINS.insert(&ring, &chain, u64::from(BPF_ANY)).ok()?;
    }
    Some(chain)
}

/// The `struct file` that stands for `fd` in the ring; it was or will be looked up by the request itself.
#[inline(always)]
fn file_of(ring: u64, fd: u32, is_fixed: bool) -> Option<u64> {
    if !is_fixed {
        return object::file_at(current(), u64::from(fd));
    }
    // An array of pointers to nodes since Linux 6.13, and of what is in them before.
    let nodes_at = global!(OFFSETS.io_ring_ctx_file_table_data_nodes);
    if nodes_at != 0 {
        let count: u32 = probe!(ring, io_ring_ctx_file_table_data_nr)?;
        let nodes: u64 = probe_at(ring + u64::from(nodes_at))?;
        if fd >= count {
            return None;
        }
        return file_of_node(probe_at(nodes + u64::from(fd) * 8)?);
    }
    let files_at = global!(OFFSETS.io_ring_ctx_file_table_files);
    let count: u32 = probe!(ring, io_ring_ctx_nr_user_files)?;
    if files_at == 0 || fd >= count {
        return None;
    }
    let files: u64 = probe_at(ring + u64::from(files_at))?;
    Some(probe_at::<u64>(files + u64::from(fd) * 8)? & FILE_BITS)
}

/// What is left of a registered file's word without its flags (`FFS_MASK`).
const FILE_BITS: u64 = !7;

#[inline(always)]
fn file_of_node(node: u64) -> Option<u64> {
    if node == 0 {
        return None;
    }
    let word: u64 = probe!(node, io_rsrc_node_file_ptr)?;
    Some(word & FILE_BITS)
}

/// The `struct file` that the request takes bytes from, 0 when it is not known.
#[inline(always)]
fn source_of(request: u64, ring: u64) -> u64 {
    if global!(OFFSETS.io_splice_splice_fd_in) == 0 {
        return 0;
    }
    let fd: u32 = probe!(request, io_splice_splice_fd_in).unwrap_or(u32::MAX);
    let flags: u32 = probe!(request, io_splice_flags).unwrap_or(0);
    file_of(ring, fd, flags & SPLICE_IN_FIXED != 0).unwrap_or(0)
}

/// Tells the pipe on this side of a request, if there is one, that it is under way. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_begun(request: u64, side: u64) -> u64 {
    let Some(noted) = REQUESTS.get_ptr(&request) else { return 0 };
    // SAFETY: map memory.
    let (pipe, chain) =
        unsafe { (if side == INTO as u64 { (*noted).into } else { (*noted).out_of }, (*noted).chain) };
    if pipe.inode == 0 {
        return 0;
    }
    let Some(held) = Held::lock(&pipe) else { return 0 };
    let known = held.find(&pipe);
    let is_new = known.is_none();
    let fifo = held.find_or_claim(&pipe);
    // SAFETY: map memory, used by this program alone.
    zc_pipe_noted(fifo, u64::from(is_new), side, chain);
    held.unlock(Some(fifo));
    1
}

/// A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_noted(fifo: *mut Fifo, is_new: u64, side: u64, chain: u64) -> u64 {
    if fifo.is_null() {
        return 0;
    }
    // SAFETY: map memory, used by this program alone.
    let fifo = unsafe { &mut *fifo };
    if is_new != 0 {
        let mut view = View::default();
        if look(&fifo.key, &mut view) {
            fifo.begin_with(&view);
        } else {
            fifo.give_up(0);
        }
    }
    fifo.under_way[side as usize & 1].begin(chain);
    1
}

/// Forgets a request that has moved nothing, or nobody knows what, if there is such a request.
#[inline(always)]
fn forget(request: u64, may_have_moved: bool) {
    let Some(noted) = REQUESTS.get_ptr(&request) else { return };
    // SAFETY: map memory.
    let noted = unsafe { *noted };
    let _ = REQUESTS.remove(&request);
    zc_pipe_over(&raw const noted.out_of, OUT_OF as u64, u64::from(may_have_moved));
    zc_pipe_over(&raw const noted.into, INTO as u64, u64::from(may_have_moved));
}

/// A request of this side of the pipe, if it is one, is over. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_pipe_over(pipe: *const ObjectKey, side: u64, may_have_moved: u64) -> u64 {
    if pipe.is_null() {
        return 0;
    }
    // SAFETY: callers pass references.
    let pipe = unsafe { *pipe };
    if pipe.inode == 0 {
        return 0;
    }
    let Some(held) = Held::lock(&pipe) else { return 0 };
    let found = held.find(&pipe);
    if let Some(fifo) = found {
        // SAFETY: map memory, used by this program alone.
        let fifo = unsafe { &mut *fifo };
        fifo.under_way[side as usize & 1].end();
        if may_have_moved != 0 {
            fifo.give_up(0);
            lose(Loss::PipesUnmatched);
        }
    }
    held.unlock(found);
    1
}

/// Makes out what a splice or tee has moved that has completed; 0 when there is nothing to count. A global function, as
/// above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(in super::super) extern "C" fn zc_pipe_completed(request: u64, opcode: u64, result: i64) -> u64 {
    if result <= 0 {
        forget(request, false);
        return 0;
    }
    let task = current();
    let Some(thread) = thread::find_or_create(task, typed!(task, task_tgid)) else {
        forget(request, true);
        return 0;
    };
    let Some(run) = MOVE.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    zc_pipe_ends(thread, run, request);
    let is_tee = opcode as u8 == TEE;
    run.order = order::UNKNOWN;
    run.chain = 0;
    if let Some(noted) = REQUESTS.get_ptr(&request) {
        // SAFETY: map memory.
        let noted = unsafe { *noted };
        if (is_tee || noted.out_of == run.from.pipe) && noted.into == run.into.pipe {
            run.order = order::NOTED;
            run.chain = noted.chain;
            let _ = REQUESTS.remove(&request);
        } else {
            forget(request, true);
        }
    }
    let path = if is_tee { Path::Tee } else { Path::Splice };
    let what = HandOn { path, bytes: result as u64, calls: 0, in_ring: true, costs: CallCosts::NONE };
    run.begin(thread, task, &what, 0);
    1
}

/// Finds out what the request moved bytes from and to. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_ends(thread: *mut Thread, run: *mut Move, request: u64) -> u64 {
    if thread.is_null() || run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    // The request itself holds a registered file since Linux 6.13.
    let node_at = global!(OFFSETS.io_splice_rsrc_node);
    let node: u64 = if node_at == 0 { 0 } else { probe_at(request + u64::from(node_at)).unwrap_or(0) };
    let from = match file_of_node(node) {
        Some(file) => file,
        None => source_of(request, probe!(request, io_kiocb_ctx).unwrap_or(0)),
    };
    run.from = side_of(thread, from);
    // The file is the first member of every request (`io_kiocb_to_cmd`).
    run.into = side_of(thread, probe_at(request).unwrap_or(0));
    1
}

#[inline(always)]
fn side_of(thread: *mut Thread, file: u64) -> Side {
    let end = object::end_of_file(thread, file);
    let pipe = if end.kind == Kind::Pipe as u8 { object::pipe_of_file(file) } else { NO_PIPE };
    Side { end, fd: NO_DESCRIPTOR, pipe }
}

/// What [`zc_pipe_completed`] has made out.
#[inline(always)]
pub(in super::super) fn count(thread: *mut Thread) {
    if let Some(run) = MOVE.get_ptr_mut(0) {
        super::zc_pipe_move(thread, run);
    }
}

/// Whether it is known when the bytes of `run` were moved, among those on the same `side` of the pipe; of one that holds
/// nothing known there is no `fifo`. Nothing is known of it any more when it is not. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn zc_pipe_order(fifo: *mut Fifo, run: *mut Move, side: u64) -> u64 {
    if run.is_null() {
        return 0;
    }
    // SAFETY: this CPU's, and nothing interrupts it to begin another.
    let run = unsafe { &mut *run };
    run.view.busy = 0;
    if fifo.is_null() {
        if run.order == order::CALL {
            return 1;
        }
        lose(Loss::PipesUnmatched);
        return 0;
    }
    // SAFETY: map memory, used by this program alone.
    let fifo = unsafe { &mut *fifo };
    let requests = &mut fifo.under_way[side as usize & 1];
    let is_known = match run.order {
        order::CALL => requests.disturb(),
        order::NOTED => requests.end(),
        _ => false,
    };
    run.view.busy = u32::from(fifo.is_busy(run.chain));
    if fifo.has_requests() {
        run.view.races = 1;
    }
    if is_known {
        return 1;
    }
    fifo.give_up(run.process);
    lose(Loss::PipesUnmatched);
    0
}
