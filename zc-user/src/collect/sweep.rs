//! What a session that goes on for months must not keep: names of ends that nobody uses any more.
//!
//! Now and then threads are asked for their rows (`EPOCH`), which they hand over when they next block. A name that no row in the kernel and
//! no thread has referred to for a while is taken out of the kernel's map, and what it stood for is no more than a kind from then
//! on. Sums by path stay what they are: all ids are told apart by one rule, so that a transfer and the leg that it was taken from go
//! the same way.

use std::collections::{HashMap, HashSet};

use aya::maps::{Array, HashMap as Hash, MapError};
use zc_common::{
    maps::{EPOCH, OBJECTS, ROWS, THREADS},
    object::{ObjectKey, ObjectValue},
    row::{RowKey, RowValue},
    thread::Thread,
    transmission::{WITNESSED, Witnessed},
    zerocopy::{REPORTED, Reported},
};

use super::{
    batch,
    collector::{Collector, no_map},
};

/// A name is kept for so many sweeps after the last one that saw it in use.
const SWEEPS: u8 = 3;

/// How long ago the known ids were seen in use, in sweeps.
#[derive(Debug, Default)]
pub(super) struct Ages(HashMap<u32, u8>);

impl Ages {
    /// After a sweep in which these ids were in use, of those that are known; returns those that are not worth keeping.
    fn grow(&mut self, known: impl Iterator<Item = u32>, used: &HashSet<u32>) -> HashSet<u32> {
        let age =
            |id| if used.contains(&id) { 0 } else { self.0.get(&id).map_or(0, |age| age.saturating_add(1)) };
        self.0 = known.map(|id| (id, age(id))).collect();
        let old: HashSet<_> = self.0.iter().filter(|&(_, &age)| age > SWEEPS).map(|(&id, _)| id).collect();
        self.0.retain(|id, _| !old.contains(id));
        old
    }
}

impl Collector {
    /// Asks threads for their rows, and forgets names that were not used for some sweeps.
    pub fn sweep(&mut self) -> Result<(), MapError> {
        let used = self.ids_in_use()?;
        let old = self.ages.grow(self.state.objects.keys().copied(), &used);
        if !old.is_empty() {
            self.take_out_names(&old)?;
            self.state.forget_names(&old);
            self.take_out_rows()?;
        }
        self.epoch += 1;
        let map = self.session.ebpf.map_mut(EPOCH).ok_or_else(|| no_map(EPOCH))?;
        Array::<_, u64>::try_from(map)?.set(0, self.epoch, 0)
    }

    /// Objects that rows, or what threads have at hand, refer to.
    fn ids_in_use(&self) -> Result<HashSet<u32>, MapError> {
        let ebpf = &self.session.ebpf;
        let mut used = HashSet::new();
        for (key, _) in batch::entries::<RowKey, RowValue>(ebpf, ROWS)? {
            used.extend([key.source, key.destination, key.through]);
        }
        for (_, thread) in batch::entries::<u32, Thread>(ebpf, THREADS)? {
            used.extend(
                thread.recent.iter().flat_map(|recent| [recent.source, recent.destination, recent.through]),
            );
            used.extend(thread.descriptors.iter().map(|descriptor| descriptor.object));
            used.extend(thread.mappings.iter().map(|mapping| mapping.object));
        }
        Ok(used)
    }

    fn take_out_names(&mut self, old: &HashSet<u32>) -> Result<(), MapError> {
        let mut names = batch::entries::<ObjectKey, ObjectValue>(&self.session.ebpf, OBJECTS)?;
        names.retain(|(_, value)| old.contains(&value.id));
        let map = self.session.ebpf.map_mut(OBJECTS).ok_or_else(|| no_map(OBJECTS))?;
        let mut map: Hash<_, ObjectKey, ObjectValue> = Hash::try_from(map)?;
        for (key, _) in &names {
            // That it is gone is what was wanted.
            let _ = map.remove(key);
        }
        Ok(())
    }

    /// What was reported on and seen of rows of ids that are forgotten does not change any more: it is taken over.
    fn take_out_rows(&mut self) -> Result<(), MapError> {
        let state = std::mem::take(&mut self.state);
        let reported = self.remove(REPORTED, |key, _: &Reported| state.is_forgotten(key));
        let witnessed = if self.sees_transmissions() {
            self.remove(WITNESSED, |key, _: &Witnessed| state.is_forgotten(key))
        } else {
            Ok(Vec::new())
        };
        self.state = state;
        for (key, value) in reported? {
            self.state.reported(&key, value);
        }
        for (key, value) in witnessed? {
            self.state.seen(&key, &value.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_while_it_is_used_and_for_a_while_after() {
        let mut ages = Ages::default();
        let mut sweep = |known: &[u32], used: &[u32]| {
            let mut old: Vec<_> =
                ages.grow(known.iter().copied(), &used.iter().copied().collect()).into_iter().collect();
            old.sort_unstable();
            old
        };
        // New ones may not have been used yet.
        assert!(sweep(&[1, 2], &[1]).is_empty());
        for _ in 0..SWEEPS {
            assert!(sweep(&[1, 2], &[1]).is_empty());
        }
        assert_eq!(sweep(&[1, 2], &[1]), [2]);
        assert!(sweep(&[1], &[1]).is_empty());
        for _ in 0..SWEEPS {
            assert!(sweep(&[1], &[]).is_empty());
        }
        assert!(sweep(&[1], &[1]).is_empty(), "used again in time");
        for _ in 0..SWEEPS {
            assert!(sweep(&[1], &[]).is_empty());
        }
        assert_eq!(sweep(&[1], &[]), [1]);
    }
}
