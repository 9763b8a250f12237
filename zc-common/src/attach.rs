//! Taking in processes that run already: what user space and the program that walks over all tasks tell each other.
//!
//! A walk goes over the threads of all processes that user space can name, one after another, while they run. So it takes three
//! of them: the first finds out which processes are meant, the second begins to trace them, and the third counts
//! their threads, those that the second could not know of.

use crate::{assert_layout, pod};

/// Hash of an id → [`Wanted`].
pub const WANTED: &str = "WANTED";
/// Array of one: what the next walk does, a [`Walk`].
pub const WALK_KIND: &str = "WALK_KIND";
/// How many processes are taken in by one walk.
pub const WANTED_MAX: u32 = 1024;

/// What a walk does.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Nothing.
    None = 0,
    /// Finds processes by the ids that they have in user space's PID namespace, which are the keys.
    Find = 1,
    /// Begins to trace them. The keys are ids in the initial PID namespace from here on.
    Begin = 2,
    /// Counts their threads.
    Threads = 3,
}

/// Value of `WANTED`: a process that is wanted, and what has become of that.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `start_boottime` of its first thread.
    pub start_ns: u64,
    /// Its id in the initial PID namespace.
    pub tgid: u32,
    /// `FOUND` and so on.
    pub state: u32,
    /// Threads that were counted.
    pub threads: u64,
}

/// It was found.
pub const FOUND: u32 = 1;
/// It is a thread of the kernel's own.
pub const KERNEL_THREAD: u32 = 2;
/// It is traced from now on.
pub const BEGUN: u32 = 4;
/// It was traced before.
pub const TRACED_BEFORE: u32 = 8;
/// There was no room for it.
pub const NO_ROOM: u32 = 16;
/// All of its threads have ended since.
pub const ENDED: u32 = 32;

assert_layout!(Wanted, 24, [u64, u32, u32, u64]);
pod!(Wanted);
