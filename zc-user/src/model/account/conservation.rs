//! From reads and writes to the report: what random processes do, whatever the order of their reads, writes, forks,
//! execs and reused descriptors, against a model that follows every byte.
//!
//! Pairs are made by the very code of the kernel side, also with too little room, so that some are forgotten.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
};

use proptest::prelude::*;
use zc_common::{
    pair::{self, GRANULE, Piece, Quick, Set, Source, Taken, WAYS, Word},
    path::{Kind, Path},
    row::{Costs, RowKey, RowValue},
    thread::memory_id,
};

use super::*;
use crate::model::{fixture::samples, samples::Row};

/// A word of a set.
struct Place(Cell<u64>);

impl Word for Place {
    fn load(&self) -> u64 {
        self.0.get()
    }
    fn store(&self, value: u64) {
        self.0.set(value);
    }
    fn swap_if(&self, old: u64, new: u64) -> bool {
        let same = self.0.get() == old;
        if same {
            self.0.set(new);
        }
        same
    }
}

const DESCRIPTORS: usize = 3;

/// What a process does next.
#[derive(Clone, Debug)]
enum Step {
    Read {
        fd: usize,
        address: u64,
        len: u64,
    },
    Write {
        fd: usize,
        address: u64,
        len: u64,
    },
    /// A child with the same descriptors and the same addresses.
    Fork,
    Exec,
    /// The descriptor is closed, and its number stands for another file from now on.
    Reopen {
        fd: usize,
    },
}

#[derive(Clone, Debug)]
struct Process {
    pid: u32,
    execs: u64,
    descriptors: [u32; DESCRIPTORS],
}

/// What was moved, from one object to another or to and from memory (0).
type Moved = BTreeMap<(u32, u32, u32), u64>;

struct World {
    sets: Vec<Set<Place>>,
    processes: Vec<Process>,
    objects: u32,
    clock: u32,
    rows: BTreeMap<RowKey, RowValue>,
    /// Which object filled a byte of memory that waits for its write.
    filled: HashMap<(u64, u64), u32>,
    /// By process, source and destination, for pairs.
    paired: Moved,
    read: BTreeMap<u32, u64>,
    written: BTreeMap<u32, u64>,
    calls: BTreeMap<u32, u64>,
    /// No interval had to make room.
    complete: bool,
}

impl World {
    fn new(sets: usize) -> Self {
        let set = |_| Set::new([const { Place(Cell::new(0)) }; WAYS]);
        Self {
            sets: (0..sets).map(set).collect(),
            processes: vec![Process { pid: 1, execs: 0, descriptors: [1, 2, 3] }],
            objects: 3,
            clock: 0,
            rows: BTreeMap::new(),
            filled: HashMap::new(),
            paired: Moved::new(),
            read: BTreeMap::new(),
            written: BTreeMap::new(),
            calls: BTreeMap::new(),
            complete: true,
        }
    }

    fn step(&mut self, process: usize, thread: u32, step: &Step) {
        let index = process % self.processes.len();
        let process = self.processes[index].clone();
        match *step {
            Step::Read { fd, address, len } => self.reads(&process, thread, fd, (address, len)),
            Step::Write { fd, address, len } => self.writes(&process, thread, fd, (address, len)),
            Step::Fork => {
                let pid = u32::try_from(self.processes.len()).unwrap() + 1;
                self.processes.push(Process { pid, execs: 0, ..process });
            }
            Step::Exec => self.processes[index].execs += 1,
            Step::Reopen { fd } => {
                self.objects += 1;
                self.processes[index].descriptors[fd] = self.objects;
            }
        }
    }

    /// What `account::read_write` does on the kernel side.
    fn reads(&mut self, process: &Process, thread: u32, fd: usize, (address, len): (u64, u64)) {
        let object = process.descriptors[fd];
        self.add(process, thread, (Path::Read, object, 0), len, (1, 0));
        *self.read.entry(process.pid).or_default() += len;
        *self.calls.entry(process.pid).or_default() += 1;
        let mut calls = 1;
        for piece in pieces(memory(process), address, len) {
            self.clock += 1;
            let kind = Kind::File as u8;
            let source = Source { object, kind, calls, stamp: self.clock, ..Source::default() };
            let set = &self.sets[self.index(&piece)];
            if !pair::put_quick(set, &piece, source) {
                pair::put(set, &piece, &source);
            }
            calls = 0;
        }
        for byte in address..address + len {
            self.filled.insert((memory(process), byte), object);
        }
    }

    fn writes(&mut self, process: &Process, thread: u32, fd: usize, (address, len): (u64, u64)) {
        let object = process.descriptors[fd];
        *self.written.entry(process.pid).or_default() += len;
        *self.calls.entry(process.pid).or_default() += 1;
        let mut call = 1;
        let mut paired = 0;
        for piece in pieces(memory(process), address, len) {
            for Taken { bytes, source } in self.take(&piece) {
                self.add(
                    process,
                    thread,
                    (Path::ReadWrite, source.object, object),
                    bytes,
                    (call, source.calls),
                );
                call = 0;
                paired += bytes;
            }
        }
        if paired < len || len == 0 {
            self.add(process, thread, (Path::Write, 0, object), len - paired, (call, 0));
        }
        for byte in address..address + len {
            if let Some(source) = self.filled.remove(&(memory(process), byte)) {
                *self.paired.entry((process.pid, source, object)).or_default() += 1;
            }
        }
    }

    fn take(&mut self, piece: &Piece) -> Vec<Taken> {
        let set = &self.sets[self.index(piece)];
        match pair::take_quick(set, piece) {
            Quick::Whole(taken) => vec![taken],
            Quick::Nothing => Vec::new(),
            Quick::Unclear => {
                let taken: Vec<_> = (0..WAYS).filter_map(|way| pair::take(set, way, piece)).collect();
                let bytes: u64 = taken.iter().map(|taken| taken.bytes).sum();
                self.complete &= bytes == piece.len() || !set.forgotten().overlaps(piece);
                taken
            }
        }
    }

    fn index(&self, piece: &Piece) -> usize {
        piece.set_index(u32::try_from(self.sets.len()).unwrap() - 1) as usize
    }

    fn add(
        &mut self,
        process: &Process,
        thread: u32,
        (path, source, destination): (Path, u32, u32),
        bytes: u64,
        (calls, taken): (u32, u32),
    ) {
        let kind = |object| if object == 0 { Kind::Memory as u8 } else { Kind::File as u8 };
        let key = RowKey {
            tid: process.pid * 100 + thread,
            path: path as u8,
            source_kind: kind(source),
            destination_kind: kind(destination),
            source,
            destination,
            ..RowKey::default()
        };
        let row = self.rows.entry(key).or_default();
        row.tgid = process.pid;
        row.process_start_ns = 1;
        row.bytes += bytes;
        row.transfers += u64::from(bytes > 0);
        row.own.add(&Costs { calls: calls.into(), ..Costs::NONE });
        row.taken.add(&Costs { calls: taken.into(), ..Costs::NONE });
    }
}

fn memory(process: &Process) -> u64 {
    memory_id(process.pid, 1_000_000, process.execs)
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

fn step() -> impl Strategy<Value = (usize, u32, Step)> {
    // Around a granule's border, so that buffers are cut; empty ones among them.
    let place = || (0..DESCRIPTORS, GRANULE - 90..GRANULE + 90, 0_u64..80);
    let step = prop_oneof![
        5 => place().prop_map(|(fd, address, len)| Step::Read { fd, address, len }),
        5 => place().prop_map(|(fd, address, len)| Step::Write { fd, address, len }),
        1 => Just(Step::Fork),
        1 => Just(Step::Exec),
        2 => (0..DESCRIPTORS).prop_map(|fd| Step::Reopen { fd }),
    ];
    (0_usize..4, 0_u32..3, step)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_never_counted_twice_and_never_vanish(
        steps in prop::collection::vec(step(), 1..80),
        sets in prop::sample::select(vec![1_usize, 64]),
    ) {
        let mut world = World::new(sets);
        for (process, thread, step) in &steps {
            world.step(*process, *thread, step);
        }
        let rows = world.rows.iter().map(|(&key, &value)| Row { key, value, seen: crate::model::seen::Seen::default() }).collect();
        let report = account(&Samples { rows, ..samples() }, Tool::this());

        prop_assert_eq!(report.lost[LOST_UNPAIRED], 0);
        for process in &report.processes {
            let of = |what: &BTreeMap<u32, u64>| what.get(&process.pid).copied().unwrap_or(0);
            let sum = |figure: fn(&Figures) -> u64| process.paths.iter().map(|row| figure(&row.figures)).sum::<u64>();
            prop_assert_eq!(sum(|figures| figures.rchar_bytes), of(&world.read));
            prop_assert_eq!(sum(|figures| figures.wchar_bytes), of(&world.written));
            prop_assert_eq!(sum(|figures| figures.syscalls), of(&world.calls));
            let of_path = |path| process.paths.iter().filter(move |row| row.path == path);
            let relayed: u64 = of_path(Path::ReadWrite).map(|row| row.figures.bytes).sum();
            let most: u64 = world.paired.range((process.pid, 0, 0)..(process.pid + 1, 0, 0)).map(|(_, n)| n).sum();
            prop_assert!(relayed <= most, "{} of {} bytes", relayed, most);
            if world.complete {
                prop_assert_eq!(relayed, most);
            }
        }
        for (&key, value) in &world.rows {
            if key.path == Path::ReadWrite as u8 {
                let truth = world.paired.get(&(value.tgid, key.source, key.destination)).copied().unwrap_or(0);
                prop_assert!(truth > 0, "object {} never went to {}", key.source, key.destination);
            }
        }
    }
}
