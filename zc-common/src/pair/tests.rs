//! The pairing against a plain model: a table that says for every byte of memory which read filled it.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;

use super::*;

impl Word for Cell<u64> {
    fn load(&self) -> u64 {
        self.get()
    }
    fn store(&self, value: u64) {
        self.set(value);
    }
    fn swap_if(&self, old: u64, new: u64) -> bool {
        let same = self.get() == old;
        if same {
            self.set(new);
        }
        same
    }
    fn is_alive(memory: u64) -> bool {
        memory != DEAD
    }
}

/// The memory of a process that has ended.
const DEAD: u64 = 99;

fn empty_set() -> Set<Cell<u64>> {
    Set::new([const { Cell::new(0) }; WAYS])
}

fn source(object: u32) -> Source {
    Source { object, calls: 1, kind: 1, ..Source::default() }
}

/// The sets of a machine, used as the kernel programs use them.
struct Machine {
    sets: Vec<Set<Cell<u64>>>,
    complete: bool,
    clock: u32,
}

impl Machine {
    fn new(sets: usize) -> Self {
        Self { sets: (0..sets).map(|_| empty_set()).collect(), complete: true, clock: 0 }
    }

    fn pieces(memory: u64, mut address: u64, mut len: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while len > 0 {
            let piece = Piece::first(memory, address, len);
            address += piece.len();
            len -= piece.len();
            pieces.push(piece);
        }
        pieces
    }

    fn read(&mut self, memory: u64, address: u64, len: u64, object: u32) {
        for (index, piece) in Self::pieces(memory, address, len).into_iter().enumerate() {
            let mask = u32::try_from(self.sets.len()).unwrap() - 1;
            let set = &self.sets[piece.set_index(mask) as usize];
            let costs = Source { calls: u32::from(index == 0), ..source(object) };
            self.clock += 1;
            let costs = Source { stamp: self.clock, ..costs };
            if !put_quick(set, &piece, costs) {
                put(set, &piece, &costs);
            }
        }
    }

    fn write(&mut self, memory: u64, address: u64, len: u64) -> Vec<Taken> {
        let mut all = Vec::new();
        for piece in Self::pieces(memory, address, len) {
            let mask = u32::try_from(self.sets.len()).unwrap() - 1;
            let set = &self.sets[piece.set_index(mask) as usize];
            match take_quick(set, &piece) {
                Quick::Whole(taken) => {
                    all.push(taken);
                    continue;
                }
                Quick::Nothing => continue,
                Quick::Unclear => {}
            }
            let before = bytes_of(&all);
            all.extend((0..WAYS).filter_map(|way| take(set, way, &piece)));
            self.complete &= bytes_of(&all) - before == piece.len() || !set.forgotten().overlaps(&piece);
        }
        all
    }
}

fn bytes_of(taken: &[Taken]) -> u64 {
    taken.iter().map(|taken| taken.bytes).sum()
}

fn bytes(taken: &[Taken], object: u32) -> u64 {
    taken.iter().filter(|taken| taken.source.object == object).map(|taken| taken.bytes).sum()
}

fn calls(taken: &[Taken]) -> u32 {
    taken.iter().map(|taken| taken.source.calls).sum()
}

#[test]
fn a_relay_pairs_whole_and_once() {
    let mut machine = Machine::new(64);
    machine.read(1, 0x7000_1234, 65_536, 7);
    let taken = machine.write(1, 0x7000_1234, 65_536);
    assert_eq!(bytes(&taken, 7), 65_536);
    assert_eq!(calls(&taken), 1);
    assert!(machine.write(1, 0x7000_1234, 65_536).is_empty(), "the second write finds no partner");
}

#[test]
fn partial_writes_in_any_order_pair_every_byte_once() {
    let mut machine = Machine::new(64);
    machine.read(1, 0x10_000, 4096, 7);
    let mut taken = machine.write(1, 0x10_000 + 1000, 500);
    taken.extend(machine.write(1, 0x10_000 + 3000, 1096));
    taken.extend(machine.write(1, 0x10_000, 1000));
    taken.extend(machine.write(1, 0x10_000 + 1500, 1500));
    assert_eq!(bytes(&taken, 7), 4096);
    assert_eq!(calls(&taken), 1);
    assert!(machine.complete);
}

#[test]
fn one_write_takes_from_several_reads() {
    let mut machine = Machine::new(64);
    machine.read(1, 0x20_000, 100, 1);
    machine.read(1, 0x20_000 + 100, 200, 2);
    machine.read(1, 0x20_000 + 400, 50, 3);
    let taken = machine.write(1, 0x20_000, 450);
    assert_eq!((bytes(&taken, 1), bytes(&taken, 2), bytes(&taken, 3)), (100, 200, 50));
}

#[test]
fn the_newest_read_of_a_buffer_counts() {
    let mut machine = Machine::new(64);
    machine.read(1, 0x30_000, 4096, 1);
    machine.read(1, 0x30_000 + 1024, 1024, 2);
    let taken = machine.write(1, 0x30_000, 4096);
    assert_eq!((bytes(&taken, 1), bytes(&taken, 2)), (3072, 1024));
    assert!(machine.complete);
}

#[test]
fn a_read_that_was_partly_overwritten_still_counts_with_its_first_write() {
    let mut machine = Machine::new(64);
    machine.read(1, 0x30_000, 4096, 1);
    machine.read(1, 0x30_000 + 1024, 1024, 2);
    assert_eq!(calls(&machine.write(1, 0x30_000, 4096)), 2);
}

#[test]
fn a_buffer_that_is_filled_little_by_little_pairs_whole() {
    let mut machine = Machine::new(64);
    for chunk in 0..100 {
        machine.read(1, 0x40_000 + chunk * 100, 100, 1);
    }
    assert!(machine.complete);
    let taken = machine.write(1, 0x40_000, 10_000);
    assert_eq!((bytes(&taken, 1), calls(&taken)), (10_000, 100));
}

#[test]
fn another_process_takes_nothing() {
    let mut machine = Machine::new(1);
    machine.read(1, 0x30_000, 4096, 1);
    assert!(machine.write(2, 0x30_000, 4096).is_empty());
}

#[test]
fn a_full_set_forgets_the_oldest_and_says_so_when_it_would_have_been_wanted() {
    let mut machine = Machine::new(1);
    for buffer in 0..=WAYS as u64 {
        machine.read(1, buffer * 100, 10, 1);
    }
    assert_eq!(bytes(&machine.write(1, 100, 10), 1), 10, "not the oldest");
    assert!(machine.write(1, 20, 10).is_empty(), "memory that was never read into");
    assert!(machine.complete, "nothing was written yet that could have had a partner");
    assert!(machine.write(1, 0, 10).is_empty(), "the oldest");
    assert!(!machine.complete);
}

#[test]
fn what_ended_processes_left_makes_room_without_being_missed() {
    let mut machine = Machine::new(1);
    for buffer in 0..WAYS as u64 {
        machine.read(DEAD, buffer * 100, 10, 1);
    }
    machine.read(1, 0, 10, 1);
    assert!(machine.write(1, 5000, 10).is_empty());
    assert!(machine.complete, "nobody writes from there any more");
    assert_eq!(bytes(&machine.write(1, 0, 10), 1), 10);
}

#[test]
fn what_nobody_writes_any_more_makes_room_for_both_sides_of_a_cut() {
    let mut machine = Machine::new(1);
    machine.read(1, 0, 4096, 1);
    for index in 1..WAYS as u64 {
        machine.read(DEAD, index << GRANULE_BITS, 10, 2);
    }
    let mut taken = machine.write(1, 1000, 100);
    taken.extend(machine.write(1, 0, 1000));
    taken.extend(machine.write(1, 1100, 2996));
    assert_eq!(bytes(&taken, 1), 4096);
    assert!(machine.complete);
}

#[test]
fn what_nobody_writes_any_more_makes_room_before_what_is_older() {
    let mut machine = Machine::new(1);
    machine.read(1, 0, 10, 1);
    for index in 1..WAYS as u64 {
        machine.read(DEAD, index << GRANULE_BITS, 10, 2);
    }
    machine.read(1, GRANULE, 10, 3);
    assert_eq!(bytes(&machine.write(1, 0, 10), 1), 10);
    assert!(machine.complete);
}

#[test]
fn a_busy_way_is_left_alone() {
    let set = empty_set();
    let piece = Piece::first(1, 0, 100);
    put(&set, &piece, &source(1));
    let busy = set.states[0].get() | BUSY;
    set.states[0].set(busy);
    assert_eq!(take(&set, 0, &piece), None);
    put(&set, &piece, &source(2));
    assert_eq!(set.states[0].get(), busy);
}

impl Word for AtomicU64 {
    fn load(&self) -> u64 {
        self.load(Ordering::SeqCst)
    }
    fn store(&self, value: u64) {
        self.store(value, Ordering::SeqCst);
    }
    fn swap_if(&self, old: u64, new: u64) -> bool {
        self.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// As many threads as a set has ways, so that nobody's interval ever has to make room.
#[test]
fn threads_that_share_a_set_take_nothing_from_each_other() {
    let set = Set::new([const { AtomicU64::new(0) }; WAYS]);
    std::thread::scope(|scope| {
        for thread in (0..).take(WAYS) {
            let set = &set;
            scope.spawn(move || {
                let piece = Piece::first(1, 0x50_000 + u64::from(thread) * 100, 100);
                for round in 0..20_000 {
                    let costs = Source { stamp: round, ..source(thread) };
                    if round % 2 == 0 || !put_quick(set, &piece, costs) {
                        put(set, &piece, &costs);
                    }
                    let taken: Vec<_> = match take_quick(set, &piece) {
                        Quick::Whole(taken) if round % 3 != 0 => vec![taken],
                        Quick::Whole(taken) => {
                            put(set, &piece, &taken.source);
                            (0..WAYS).filter_map(|way| take(set, way, &piece)).collect()
                        }
                        Quick::Nothing => vec![],
                        Quick::Unclear => (0..WAYS).filter_map(|way| take(set, way, &piece)).collect(),
                    };
                    assert_eq!((bytes(&taken, thread), calls(&taken)), (100, 1), "round {round}");
                }
            });
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Read { memory: u64, address: u64, len: u64 },
    Write { memory: u64, address: u64, len: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    // Around a granule's border, so that pieces are cut.
    let place = (1_u64..3, GRANULE - 300..GRANULE + 300, 1_u64..400);
    (any::<bool>(), place).prop_map(|(reads, (memory, address, len))| {
        if reads { Step::Read { memory, address, len } } else { Step::Write { memory, address, len } }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// With room for all, every byte pairs with the read that filled it last, once; without room, bytes
    /// are only ever missing, never paired wrongly or twice.
    #[test]
    fn bytes_pair_with_their_last_read_and_at_most_once(
        steps in prop::collection::vec(step(), 1..60),
        sets in prop::sample::select(vec![1_usize, 2, 64]),
    ) {
        let mut machine = Machine::new(sets);
        let mut model = HashMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let object = u32::try_from(number).unwrap() + 1;
            match step {
                Step::Read { memory, address, len } => {
                    machine.read(memory, address, len, object);
                    for byte in address..address + len {
                        model.insert((memory, byte), object);
                    }
                }
                Step::Write { memory, address, len } => {
                    let taken = machine.write(memory, address, len);
                    let mut expected = HashMap::<u32, u64>::new();
                    for byte in address..address + len {
                        if let Some(object) = model.remove(&(memory, byte)) {
                            *expected.entry(object).or_default() += 1;
                        }
                    }
                    for (object, count) in &expected {
                        let found = bytes(&taken, *object);
                        prop_assert!(found <= *count);
                        if machine.complete {
                            prop_assert_eq!(found, *count);
                        }
                    }
                    for taken in &taken {
                        prop_assert!(expected.contains_key(&taken.source.object));
                    }
                }
            }
        }
    }
}
