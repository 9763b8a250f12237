//! A look at a session that goes on.
//!
//! The programs go on while maps are read, so a look says what was true within some milliseconds. It counts nothing twice: a row is
//! taken from the map or, when its thread has just ended, from its record; and what a thread keeps at hand is added to the row
//! only if it did not get there in between. What is missed is in the next look.

use std::collections::{HashMap, HashSet};

use aya::maps::{HashMap as Hash, MapData, MapError};
use zc_common::{
    maps::{ROWS, THREADS},
    row::{RowKey, RowValue},
    thread::Thread,
    transmission::{WITNESSED, Witnessed},
    zerocopy::{REPORTED, Reported},
};

use super::{
    batch,
    collector::{BpfCost, Collector, no_map},
    state::{ProcessKey, add_row},
};
use crate::model::Samples;

/// How often it is tried to see a row and what its thread has at hand at one moment.
const TRIES: u32 = 8;

impl Collector {
    /// What the session has seen up to now. Nothing ends by it.
    pub fn look(&mut self) -> Result<Samples, MapError> {
        self.drain();
        // First of all, so that no more is known of bytes than there are.
        let reported = batch::entries::<RowKey, Reported>(&self.session.ebpf, REPORTED)?;
        let witnessed = if self.sees_transmissions() {
            batch::entries::<RowKey, Witnessed>(&self.session.ebpf, WITNESSED)?
        } else {
            Vec::new()
        };
        let rows = self.rows_with_what_is_at_hand()?;
        let live_totals = self.live_totals()?;
        // What has ended since then is final in its records, and not taken twice.
        let ended = self.drain_noting_rows();
        let mut state = self.state.at_hand();
        for (key, value) in rows.iter().filter(|(key, _)| !ended.contains(*key)) {
            state.row(*key, value);
        }
        for (key, value) in reported {
            state.reported(&key, value);
        }
        for (key, value) in &witnessed {
            state.seen(key, &(*value).into());
        }
        let bpf = BpfCost::read(&self.session);
        let lost = self.lost(&bpf)?;
        Ok(self.samples(state, live_totals, lost, &bpf, true))
    }

    /// Forgets processes of which everything has been taken in: those that have ended. What is learned of their bytes later is lost,
    /// so they should have ended some time ago.
    pub fn forget(&mut self, processes: &[ProcessKey]) -> Result<(), MapError> {
        let gone: HashSet<_> = processes.iter().filter(|key| !self.state.is_alive(key)).copied().collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.state.forget(&gone);
        // Rows that found no room in the ring when their threads ended.
        self.remove(ROWS, |_: &RowKey, row: &RowValue| gone.contains(&(row.tgid, row.process_start_ns)))?;
        let belongs = |key: &RowKey| gone.contains(&(key.tid, key.thread_start_ns));
        self.remove(REPORTED, |key: &RowKey, _: &Reported| belongs(key))?;
        self.remove(WITNESSED, |key: &RowKey, _: &Witnessed| belongs(key))?;
        Ok(())
    }

    /// Takes entries out of a map; returns them.
    pub(super) fn remove<V: aya::Pod>(
        &mut self,
        name: &str,
        is_gone: impl Fn(&RowKey, &V) -> bool,
    ) -> Result<Vec<(RowKey, V)>, MapError> {
        let mut entries = batch::entries::<RowKey, V>(&self.session.ebpf, name)?;
        entries.retain(|(key, value)| is_gone(key, value));
        let map = self.session.ebpf.map_mut(name).ok_or_else(|| no_map(name))?;
        let mut map: Hash<_, RowKey, V> = Hash::try_from(map)?;
        for (key, _) in &entries {
            // That it is gone is what was wanted.
            let _ = map.remove(key);
        }
        Ok(entries)
    }

    /// All rows of the map, with what their threads still keep at hand.
    fn rows_with_what_is_at_hand(&self) -> Result<HashMap<RowKey, RowValue>, MapError> {
        let ebpf = &self.session.ebpf;
        let before: HashMap<RowKey, RowValue> = batch::entries(ebpf, ROWS)?.into_iter().collect();
        let threads: Vec<(u32, Thread)> = batch::entries(ebpf, THREADS)?;
        let mut rows: HashMap<RowKey, RowValue> = batch::entries(ebpf, ROWS)?.into_iter().collect();
        let map = ebpf.map(ROWS).ok_or_else(|| no_map(ROWS))?;
        let live_rows: Hash<&MapData, RowKey, RowValue> = Hash::try_from(map)?;
        let map = ebpf.map(THREADS).ok_or_else(|| no_map(THREADS))?;
        let live_threads: Hash<&MapData, u32, Thread> = Hash::try_from(map)?;
        for (tid, thread) in &threads {
            for (index, recent) in thread.recent.iter().enumerate() {
                let Some((key, mut pending)) = recent.pending(thread, *tid) else { continue };
                let Some(row) = rows.get_mut(&key) else { continue };
                let mut earlier = before.get(&key).copied();
                // `settle` empties what is at hand and adds it to the row. When the row is the same before and after, it has not.
                let mut tries = 0;
                while earlier.is_none_or(|earlier| differs(&earlier, row)) && tries < TRIES {
                    tries += 1;
                    earlier = Some(*row);
                    let now = live_threads.get(tid, 0).ok().filter(|now| now.start_ns == thread.start_ns);
                    let again = now.and_then(|now| now.recent[index].pending(&now, *tid));
                    pending = again
                        .filter(|(now, _)| *now == key)
                        .map_or_else(RowValue::default, |(_, pending)| pending);
                    let Ok(now) = live_rows.get(&key, 0) else { break };
                    *row = now;
                }
                if earlier.is_some_and(|earlier| !differs(&earlier, row)) {
                    add_row(row, &pending);
                }
            }
        }
        Ok(rows)
    }
}

/// Whether something was added to a row.
fn differs(earlier: &RowValue, later: &RowValue) -> bool {
    let sums = |row: &RowValue| (row.bytes, row.transfers, row.own.calls, row.taken.calls);
    sums(earlier) != sums(later)
}
