use zc_common::{
    record::{COMM_BYTES, RecordKind},
    row::{Costs, VALUE_CALLS_COUNTED},
};

use super::*;

fn process(kind: RecordKind, tgid: u32, ppid: u32, start_ns: u64) -> ProcessRecord {
    let mut comm = [0; COMM_BYTES];
    comm[..2].copy_from_slice(b"dd");
    ProcessRecord {
        header: kind.header(),
        tgid,
        ppid,
        start_ns,
        cgroup_id: 5,
        exit_code: 0,
        reserved: 0,
        comm,
    }
}

fn row(tid: u32, tgid: u32, path: Path, bytes: u64) -> (RowKey, RowValue) {
    let key = RowKey { thread_start_ns: u64::from(tid) * 10, tid, path: path as u8, ..RowKey::default() };
    let own = Costs { calls: 1, ..Costs::default() };
    let value = RowValue { tgid, process_start_ns: 10, bytes, own, ..RowValue::default() };
    (key, value)
}

#[test]
fn rows_of_threads_add_up() {
    let mut state = State::default();
    for tid in [1, 2, 3] {
        let (key, value) = row(tid, 1, Path::Read, 100);
        state.row(key, &value);
    }
    let rows = state.into_rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].value.bytes, rows[0].value.own.calls), (300, 3));
}

#[test]
fn totals_of_ended_threads_do_not_stand_in_for_the_first_one() {
    let mut state = State::default();
    let (key, mut value) = row(2, 1, Path::Thread, 0);
    value.flags = VALUE_CALLS_COUNTED;
    state.row(key, &value);
    let rows = state.into_rows();
    assert_ne!((rows[0].key.tid, rows[0].key.thread_start_ns), (1, 10));
    assert_eq!(rows[0].value.flags, VALUE_CALLS_COUNTED);
}

#[test]
fn ids_that_are_used_again_are_two_processes() {
    let mut state = State::default();
    state.exit(&process(RecordKind::Exit, 7, 1, 100));
    state.fork(&process(RecordKind::Fork, 7, 1, 200));
    assert_eq!(state.processes.len(), 2);
    assert_eq!(state.alive().collect::<Vec<_>>(), [&(7, 200)]);
}

#[test]
fn a_child_has_its_parents_program_until_it_execs() {
    let mut state = State::default();
    let mut args = [0; ARGS_BYTES];
    args[..6].copy_from_slice(b"sh\0-c\0");
    let process_record = process(RecordKind::Exec, 7, 1, 100);
    state.exec(&ExecRecord { process: process_record, exe: 3, args_len: 6, args });
    state.fork(&process(RecordKind::Fork, 8, 7, 200));
    let child = &state.processes[&(8, 200)];
    assert_eq!(child.sample.cmdline, ["sh", "-c"]);
    assert_eq!((child.exe, child.sample.ppid), (3, Some(7)));
}

#[test]
fn a_command_line_that_was_cut_says_so() {
    let process = process(RecordKind::Exec, 7, 1, 100);
    let record = ExecRecord { process, exe: 0, args_len: 5000, args: [b'x'; ARGS_BYTES] };
    assert!(arguments(&record)[0].ends_with('…'));
    let empty = ExecRecord { args_len: 0, ..record };
    assert!(arguments(&empty).is_empty());
}

#[test]
fn exit_codes_are_those_of_a_shell() {
    assert_eq!(exit_code(0), 0);
    assert_eq!(exit_code(7 << 8), 7);
    assert_eq!(exit_code(9), 137);
    assert_eq!(exit_code(0x80 | 0xB), 139, "with a core dump");
}

#[test]
fn rubbish_is_counted() {
    let mut state = State::default();
    state.record(&[1, 2, 3]);
    assert_eq!(state.malformed, 1);
}

#[test]
fn a_process_that_ran_before_is_known_by_what_was_read_of_it_until_it_execs() {
    let mut state = State::default();
    // It did something before it was described, and has ended since.
    let (key, value) = row(7, 1, Path::Read, 100);
    state.row(key, &value);
    state.exit(&process(RecordKind::Exit, 1, 0, 10));
    let sample = |pid, comm: &str| ProcessSample {
        pid,
        start_ns: 10,
        comm: comm.to_owned(),
        exe: Some("/bin/nginx".to_owned()),
        cmdline: vec!["nginx".to_owned()],
        alive: true,
        ..ProcessSample::default()
    };
    state.attached(sample(1, "nginx"));
    assert!(state.is_attached(&(1, 10)) && !state.is_attached(&(1, 11)));
    let known = &state.processes[&(1, 10)].sample;
    assert_eq!((known.comm.as_str(), known.alive, known.exit_code), ("nginx", false, Some(0)));
    // A child is the same program.
    state.attached(sample(2, "nginx"));
    state.fork(&process(RecordKind::Fork, 3, 2, 20));
    let child = &state.processes[&(3, 20)];
    assert_eq!((child.sample.exe.as_deref(), child.attached), (Some("/bin/nginx"), false));
    let exec = ExecRecord {
        process: process(RecordKind::Exec, 3, 2, 20),
        exe: 0,
        args_len: 0,
        args: [0; ARGS_BYTES],
    };
    state.exec(&exec);
    assert_eq!(state.processes[&(3, 20)].sample.exe, None);
}

mod forgotten {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;
    use zc_common::path::Kind;

    use super::*;
    use crate::model::{Samples, account, fixture, report::Tool, samples::ObjectSample};

    fn object() -> ObjectSample {
        ObjectSample {
            kind: Kind::File,
            device: 0,
            inode: 1,
            generation: 0,
            deleted: false,
            name: None,
            local: None,
        }
    }

    /// Reads of files, of which some were paired with writes to others, as the kernel side has them: a transfer's read is in a leg, too.
    fn put(state: &mut State, source: u32, destination: u32, read: u64, written: u64) {
        let (mut key, mut value) = row(1, 1, Path::Read, read);
        (key.source_kind, key.source) = (Kind::File as u8, source);
        (key.destination_kind, value.transfers, value.own.calls) = (Kind::Memory as u8, 2, 2);
        state.row(key, &value);
        let (mut key, mut value) = row(1, 1, Path::ReadWrite, written);
        (key.source_kind, key.source) = (Kind::File as u8, source);
        (key.destination_kind, key.destination) = (Kind::File as u8, destination);
        (value.transfers, value.taken.calls) = (1, 1);
        state.row(key, &value);
    }

    /// Bytes, copies and calls by path, and how many legs were short.
    fn sums(state: &State) -> (BTreeMap<String, [u64; 5]>, u64) {
        let state = state.at_hand();
        let samples =
            Samples { objects: state.objects.clone(), rows: state.into_rows(), ..fixture::samples() };
        let report = account(&samples, Tool { version: String::new(), commit: None });
        let mut sums = BTreeMap::<String, [u64; 5]>::new();
        for row in report.processes.iter().flat_map(|process| &process.paths) {
            let figures = &row.figures;
            let sum = sums.entry(format!("{:?} {:?}", row.path, row.figures.verdict)).or_default();
            let copied = figures.cpu_copied_bytes.unwrap_or(0);
            let more = [figures.bytes, copied, figures.unknown_bytes, figures.syscalls, figures.transfers];
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum += more;
            }
        }
        (sums, report.lost["unpaired"])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn sums_by_path_stay_what_they_are(
            transfers in prop::collection::vec((1..6_u32, 6..9_u32, 1..1000_u64, 0..100_u64), 1..20),
            old in prop::collection::hash_set(1..9_u32, 0..9),
            cut in 0..20_usize,
        ) {
            let mut state = State::default();
            let mut all = State::default();
            for id in 1..9 {
                state.objects.insert(id, object());
                all.objects.insert(id, object());
            }
            for (index, &(source, destination, read, unpaired)) in transfers.iter().enumerate() {
                if index == cut {
                    state.forget_names(&old);
                }
                put(&mut state, source, destination, read + unpaired, read);
                put(&mut all, source, destination, read + unpaired, read);
            }
            state.forget_names(&old);
            prop_assert_eq!(sums(&state), sums(&all));
            let forgotten: HashSet<_> = state.rows.keys().flat_map(|key| [key.source, key.destination]).filter(|id| old.contains(id)).collect();
            prop_assert!(forgotten.is_empty());
        }
    }

    #[test]
    fn a_pipe_that_is_forgotten_is_still_a_pipe_and_new_ids_are_not_forgotten() {
        let mut state = State::default();
        state.objects.insert(3, object());
        state.objects.insert(4, object());
        state.forget_names(&HashSet::from([4]));
        let key = RowKey { source: 3, destination: 4, through: 4, ..RowKey::default() };
        let known = state.known_key(&key);
        assert_eq!((known.source, known.destination, known.through), (3, 0, THROUGH_UNNAMED));
        let new = RowKey { source: 5, through: THROUGH_UNNAMED, ..RowKey::default() };
        assert_eq!(state.known_key(&new), new);
        assert!(state.is_forgotten(&key) && !state.is_forgotten(&new));
    }
}
