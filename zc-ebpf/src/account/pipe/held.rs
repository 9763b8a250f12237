//! The pipes that hold spliced bytes, and what the kernel has of a pipe.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_jiffies64, bpf_loop, bpf_probe_read_kernel},
    macros::map,
    maps::{Array, PerCpuArray},
};
use zc_common::{
    loss::Loss,
    maps::PIPE_SETS,
    object::ObjectKey,
    pipe::{Fifo, PIPES as WAYS, PipeSet, View},
};

use crate::{
    kernel::{below_1024, fetch_add, global, lowest_bit, probe, probe_both, swap_if},
    maps::lose,
};

/// Every pipe that holds bytes of which the source is known.
#[map]
static PIPES: Array<PipeSet> = Array::with_max_entries(PIPE_SETS, 0);

/// How many there are: while it is 0, reading from a pipe and writing to it costs no more than a look at this.
#[map]
static HELD: Array<u64> = Array::with_max_entries(1, 0);

/// Whether there are any.
#[inline(always)]
pub(super) fn any() -> bool {
    HELD.get(0).is_some_and(|held| *held != 0)
}

/// The set of a pipe, while no other program uses it.
pub(super) struct Held {
    set: *mut PipeSet,
}

impl Held {
    /// Waits for the set of `key`. `None`, counted as lost, when it cannot be had.
    #[inline(always)]
    pub(super) fn lock(key: &ObjectKey) -> Option<Self> {
        let index = key.set_index(PIPE_SETS);
        if zc_pipe_lock(u64::from(index)) == 0 {
            lose(Loss::PipesUnmatched);
            return None;
        }
        Some(Self { set: PIPES.get_ptr_mut(index)? })
    }

    /// What is known of the pipe; `None` when nothing is.
    #[inline(always)]
    pub(super) fn find(&self, key: &ObjectKey) -> Option<*mut Fifo> {
        // SAFETY: map memory, used by this program alone.
        let set = unsafe { &mut *self.set };
        let index = set.find(key);
        (index < WAYS).then(|| &raw mut set.fifos[index & (WAYS - 1)])
    }

    /// The same, with a place for what will be known.
    #[inline(always)]
    pub(super) fn find_or_claim(&self, key: &ObjectKey) -> *mut Fifo {
        if let Some(fifo) = self.find(key) {
            return fifo;
        }
        // SAFETY: map memory, used by this program alone; the helper has no preconditions.
        let (set, now) = unsafe { (&mut *self.set, bpf_jiffies64() as u32) };
        let claimed = set.claim(key, now);
        if claimed.lost {
            lose(Loss::PipesUnmatched);
        }
        if claimed.was_free {
            count(1);
        }
        &raw mut set.fifos[claimed.index & (WAYS - 1)]
    }

    /// Lets others use the set, and forgets a pipe that nothing has to be known of.
    #[inline(always)]
    pub(super) fn unlock(self, fifo: Option<*mut Fifo>) {
        if let Some(fifo) = fifo {
            // SAFETY: map memory, still used by this program alone.
            let fifo = unsafe { &mut *fifo };
            if fifo.is_idle() && fifo.key.inode != 0 {
                fifo.key.inode = 0;
                count(u64::MAX);
            }
        }
        // SAFETY: map memory.
        swap_if(unsafe { &raw mut (*self.set).lock }, 1, 0);
    }
}

#[inline(always)]
fn count(change: u64) {
    if let Some(held) = HELD.get_ptr_mut(0) {
        fetch_add(held, change);
    }
}

/// How often the lock is tried, some milliseconds in all. Who has it is not preempted and needs a few microseconds, but
/// its CPU may be a virtual one, which the host takes away for longer.
const TRIES: u32 = 1 << 20;

/// A global function: the verifier looks at it once, and not again at each call. 1 when the set is locked.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_lock(set: u64) -> u64 {
    let mut wait = Wait { set: set as u32, locked: 0 };
    if !wait.try_lock() {
        // SAFETY: `try_next` has the signature of a callback, and `wait` is its context.
        unsafe { bpf_loop(TRIES, try_next as *mut c_void, (&raw mut wait).cast(), 0) };
    }
    u64::from(wait.locked)
}

/// Waiting for a lock.
#[repr(C)]
struct Wait {
    /// Index of the set.
    set: u32,
    locked: u32,
}

impl Wait {
    #[inline(always)]
    fn try_lock(&mut self) -> bool {
        let Some(set) = PIPES.get_ptr_mut(self.set) else { return true };
        // SAFETY: map memory.
        let lock = unsafe { &raw mut (*set).lock };
        // Looked at first, as a swap takes the cache line away from who has the lock, also when it fails.
        // SAFETY: as above.
        let locked = unsafe { lock.read_volatile() } == 0 && swap_if(lock, 0, 1);
        self.locked = u32::from(locked);
        locked
    }
}

#[inline(never)]
extern "C" fn try_next(_index: u32, wait: *mut c_void) -> i64 {
    // SAFETY: what `bpf_loop` was given.
    i64::from(unsafe { &mut *wait.cast::<Wait>() }.try_lock())
}

/// Slots that are looked at in one go: all those that a pipe has by default (`PIPE_DEF_BUFFERS`).
const CHUNK: u32 = 16;
/// A `struct pipe_buffer` has 40 bytes on all kernels known.
const BUFFER_MAX: u32 = 64;
/// How many chunks are looked at: pipes of up to 16 GiB of pages.
const CHUNKS_MAX: u32 = 1 << 18;

/// A walk through the slots of a pipe.
#[repr(C)]
struct Slots {
    /// Address of the first slot.
    buffers: u64,
    /// How many there are, a power of two.
    ring_size: u32,
    tail: u32,
    /// How many are in use.
    used: u32,
    /// The next to be looked at.
    next: u32,
    content: u64,
    /// Where what is new begins, and how many bytes that is.
    since: u64,
    fresh: u64,
    failed: u64,
    chunk: [u32; (CHUNK * BUFFER_MAX / 4) as usize],
}

#[map]
static SLOTS: PerCpuArray<Slots> = PerCpuArray::with_max_entries(1, 0);

/// What the kernel has of the pipe now; false when it cannot be read. The pipe's own lock is not to be had here: others
/// may use it meanwhile, and then it is looked at again.
#[inline(always)]
pub(super) fn look(key: &ObjectKey, view: &mut View) -> bool {
    const LOOKS: u32 = 8;
    let mut looks = 0;
    while looks < LOOKS {
        match zc_pipe_look(key, view) {
            SEEN => return true,
            MOVED => looks += 1,
            _ => return false,
        }
    }
    false
}

/// The pipe was as `view` says it is.
const SEEN: u64 = 1;
/// Slots were taken into use or given back while it was looked at.
const MOVED: u64 = 2;

/// A global function: the verifier looks at it once. `struct pipe_inode_info` is in `inode.i_pipe` of pipes and named
/// pipes; `head` and `tail` are 32 bits wide where a word has 64.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_look(key: *const ObjectKey, view: *mut View) -> u64 {
    if key.is_null() || view.is_null() {
        return 0;
    }
    // SAFETY: the only caller passes references.
    let (key, view) = unsafe { (&*key, &mut *view) };
    view.content = 0;
    view.fresh = 0;
    let Some(pipe) = probe!(key.inode, inode_i_pipe) else { return 0 };
    let pipe: u64 = pipe;
    if pipe == 0 {
        return 0;
    }
    let both = probe_both(pipe, global!(OFFSETS.pipe_head), global!(OFFSETS.pipe_tail));
    let Some((head, tail)) = both else { return 0 };
    view.head = head;
    view.tail = tail;
    if head == tail {
        return SEEN;
    }
    let both = probe_both(pipe, global!(OFFSETS.pipe_ring_size), global!(OFFSETS.pipe_bufs));
    let Some((ring_size, buffers)) = both else { return 0 };
    let Some(slots) = SLOTS.get_ptr_mut(0) else { return 0 };
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    let slots = unsafe { &mut *slots };
    slots.buffers = buffers;
    slots.ring_size = ring_size;
    slots.tail = tail;
    slots.used = head.wrapping_sub(tail);
    slots.next = 0;
    slots.content = 0;
    slots.since = u64::from(view.since);
    slots.fresh = 0;
    slots.failed = u64::from(slots.used > ring_size);
    if slots.failed == 0 && zc_pipe_slots(slots) == 0 {
        // SAFETY: `next_slots` has the signature of a callback.
        unsafe { bpf_loop(CHUNKS_MAX, next_slots as *mut c_void, core::ptr::null_mut(), 0) };
    }
    view.content = slots.content;
    view.fresh = slots.fresh;
    let now: Option<(u32, u32)> = probe_both(pipe, global!(OFFSETS.pipe_head), global!(OFFSETS.pipe_tail));
    let Some((head, tail)) = now else { return 0 };
    if head != view.head || tail != view.tail {
        return MOVED;
    }
    if slots.failed == 0 && slots.next >= slots.ring_size { SEEN } else { 0 }
}

#[inline(never)]
extern "C" fn next_slots(_index: u32, _context: *mut c_void) -> i64 {
    SLOTS.get_ptr_mut(0).map_or(1, |slots| lowest_bit(zc_pipe_slots(slots)) as i64)
}

/// Adds up the bytes in some slots; 1 when these were the last. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zc_pipe_slots(slots: *mut Slots) -> u64 {
    if slots.is_null() {
        return 1;
    }
    // SAFETY: this CPU's, and nothing interrupts a walk to begin another.
    let slots = unsafe { &mut *slots };
    let mask = slots.ring_size.wrapping_sub(1);
    let start = slots.next;
    let here = if slots.ring_size - start < CHUNK { slots.ring_size - start } else { CHUNK };
    slots.next = start + here;
    let is_used = |slot: u32| (slot.wrapping_sub(slots.tail) & mask) < slots.used;
    if is_used(start) || slots.tail.wrapping_sub(start) & mask < here {
        let size = global!(OFFSETS.pipe_buffer_private) + 8;
        let len_at = global!(OFFSETS.pipe_buffer_len);
        let place = (&raw mut slots.chunk).cast::<u32>();
        if size >= BUFFER_MAX || len_at + 4 > size || here > CHUNK {
            slots.failed = 1;
            return 1;
        }
        let from = slots.buffers + u64::from(start) * u64::from(size);
        // SAFETY: the chunk has room for so many buffers.
        if unsafe { bpf_probe_read_kernel(place.cast(), below_1024(here * size), from as *const _) } != 0 {
            slots.failed = 1;
            return 1;
        }
        let mut chunk = Chunk { slots, start, here };
        // SAFETY: `add_slot` has the signature of a callback, and `chunk` outlives the loop.
        unsafe { bpf_loop(CHUNK, add_slot as *mut c_void, (&raw mut chunk).cast(), 0) };
    }
    u64::from(slots.next >= slots.ring_size)
}

/// Slots that were read.
#[repr(C)]
struct Chunk {
    slots: *mut Slots,
    /// The first.
    start: u32,
    /// How many.
    here: u32,
}

/// Adds the bytes of one of them; not 0 after the last.
#[inline(never)]
extern "C" fn add_slot(index: u32, chunk: *mut Chunk) -> i64 {
    // SAFETY: `zc_pipe_slots` passes its own.
    let (slots, start, here) = unsafe { (&mut *(*chunk).slots, (*chunk).start, (*chunk).here) };
    if index >= here || index >= CHUNK {
        return 1;
    }
    let (size, len_at) = (global!(OFFSETS.pipe_buffer_private) + 8, global!(OFFSETS.pipe_buffer_len));
    let place_in_pipe = (start + index).wrapping_sub(slots.tail) & slots.ring_size.wrapping_sub(1);
    if size < BUFFER_MAX && len_at + 4 <= size && place_in_pipe < slots.used {
        let place = (&raw const slots.chunk).cast::<u32>();
        // SAFETY: within the chunk.
        let len = unsafe { place.add((below_1024(index * size + len_at) / 4) as usize).read_volatile() };
        slots.content += u64::from(len);
        let is_new = slots.tail.wrapping_add(place_in_pipe).wrapping_sub(slots.since as u32) < 1 << 31;
        slots.fresh += if is_new { u64::from(len) } else { 0 };
    }
    0
}
