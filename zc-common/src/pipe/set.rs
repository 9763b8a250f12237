//! Where the pipes are that hold something.

use super::{Fifo, UnderWay};
use crate::{assert_layout, object::ObjectKey};

/// Pipes of one set.
pub const PIPES: usize = 4;

/// Some pipes. Everything in it is used by one program at a time, which has made `lock` 1.
#[repr(C)]
#[derive(Debug)]
pub struct PipeSet {
    /// 1 while a program uses the set.
    pub lock: u64,
    /// The pipes.
    pub fifos: [Fifo; PIPES],
}

/// Where a pipe was given a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its index.
    pub index: usize,
    /// Nothing was there before.
    pub was_free: bool,
    /// What was there is lost.
    pub lost: bool,
}

impl PipeSet {
    /// Where `key` is, or [`PIPES`].
    #[inline(always)]
    pub fn find(&self, key: &ObjectKey) -> usize {
        let mut index = 0;
        while index < PIPES {
            if self.fifos[index].key == *key {
                return index;
            }
            index += 1;
        }
        PIPES
    }

    /// Gives a place to a pipe that has none: a free one, else that of the pipe which was used least recently, of those
    /// that hold nothing which is wanted if there is one.
    #[inline(always)]
    pub fn claim(&mut self, key: &ObjectKey, stamp: u32) -> Claimed {
        let mut index = 0;
        let mut best = 0;
        let mut worth = 0;
        while index < PIPES {
            let fifo = &self.fifos[index];
            let age = u64::from(stamp.wrapping_sub(fifo.stamp));
            let this = if fifo.key.inode == 0 {
                1 << 34
            } else if fifo.is_wanted() {
                1 + age
            } else {
                (1 << 33) + age
            };
            if this > worth {
                worth = this;
                best = index;
            }
            index += 1;
        }
        let index = best & (PIPES - 1);
        let fifo = &mut self.fifos[index];
        let claimed =
            Claimed { index, was_free: fifo.key.inode == 0, lost: fifo.key.inode != 0 && fifo.is_wanted() };
        fifo.key = *key;
        fifo.stamp = stamp;
        fifo.blind = 0;
        fifo.missed = 0;
        fifo.waiting.clear();
        fifo.early.clear();
        fifo.under_way = [UnderWay::NONE; 2];
        claimed
    }
}

impl ObjectKey {
    /// Which of `sets`, a power of two, holds the pipe.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "no more than the mask is left")]
    pub const fn set_index(&self, sets: u32) -> u32 {
        // Numbers of pipes are given one after another (`get_next_ino`).
        (self.number ^ self.inode >> 12) as u32 & (sets - 1)
    }
}

assert_layout!(PipeSet, 8 + PIPES * size_of::<Fifo>(), [u64, [Fifo; PIPES]]);
