//! The textbook's table, its further cases, and what newer calls promise: as data.

use super::rows::{
    CHUNK_BYTES, Cache, Case, Expected, Numbers, Origin, PAGE_BYTES, RECORD_BYTES, Row, Unit, Work,
};

const NOTHING: Numbers = Numbers {
    system_calls: None,
    mode_switches: None,
    cpu_copies: None,
    device_reads: None,
    device_sends: None,
    faults: None,
};

/// Calls, two mode switches for each, and copies; what zc cannot see of a device is not expected of it.
const fn calls(calls: f64, copies: f64) -> Numbers {
    Numbers {
        system_calls: Some(Expected::Exactly(calls)),
        mode_switches: Some(Expected::Exactly(2.0 * calls)),
        cpu_copies: Some(Expected::Exactly(copies)),
        ..NOTHING
    }
}

/// From a file to the network: both devices copy.
const fn to_network(numbers: Numbers) -> Numbers {
    Numbers {
        device_reads: Some(Expected::Exactly(1.0)),
        device_sends: Some(Expected::Exactly(1.0)),
        ..numbers
    }
}

/// A number of faults for each page, and two mode switches for each fault.
const fn faults(calls: f64, faults: f64, copies: f64) -> Numbers {
    Numbers {
        system_calls: Some(Expected::Exactly(calls)),
        mode_switches: Some(Expected::AndTwoPerFault(2.0 * calls)),
        cpu_copies: Some(Expected::Exactly(copies)),
        faults: Some(Expected::Exactly(faults)),
        ..NOTHING
    }
}

const PAGES_OF_CHUNK: f64 = (CHUNK_BYTES / PAGE_BYTES) as f64;

const fn case(name: &'static str, work: Work, cache: Cache) -> Case {
    Case { name, work, cache, expected: None }
}

const fn case_with(name: &'static str, work: Work, cache: Cache, expected: Numbers) -> Case {
    Case { name, work, cache, expected: Some(expected) }
}

/// Cold, then warm: what the first read into the cache the second finds there.
const fn both(work: Work) -> [Case; 2] {
    [case("cold", work, Cache::Cold), case("warm", work, Cache::Warm)]
}

/// A page that is in the cache already.
const AGAIN: Numbers = Numbers { device_reads: Some(Expected::Exactly(0.0)), ..calls(1.0, 1.0) };

/// Every row, in the order in which they are run and shown.
pub const ROWS: &[Row] = &[
    Row {
        number: 1,
        name: "read+write",
        about: "read(2) a file, write(2) it to a TCP socket",
        origin: Origin::Textbook,
        unit: Unit::Chunk,
        path: Some("read+write"),
        expected: to_network(calls(2.0, 2.0)),
        cases: &both(Work::ReadWrite),
    },
    Row {
        number: 2,
        name: "mmap+write",
        about: "mmap(2) a file, write(2) the mapping to a TCP socket",
        origin: Origin::Textbook,
        unit: Unit::Chunk,
        path: Some("mmap+write"),
        expected: to_network(faults(2.0, PAGES_OF_CHUNK, 1.0)),
        cases: &both(Work::MmapWrite),
    },
    Row {
        number: 3,
        name: "sendfile-copied",
        about: "sendfile(2) to a device without scatter-gather: a veth pair",
        origin: Origin::Textbook,
        unit: Unit::Chunk,
        path: Some("sendfile"),
        expected: to_network(calls(1.0, 1.0)),
        cases: &both(Work::SendfileWithoutSg),
    },
    Row {
        number: 4,
        name: "sendfile",
        about: "sendfile(2) with scatter-gather: pages by reference, over loopback",
        origin: Origin::Textbook,
        unit: Unit::Chunk,
        path: Some("sendfile"),
        expected: to_network(calls(1.0, 0.0)),
        cases: &both(Work::Sendfile),
    },
    Row {
        number: 5,
        name: "splice",
        about: "splice(2) a file into a pipe, and the pipe into a TCP socket",
        origin: Origin::Textbook,
        unit: Unit::Chunk,
        path: Some("splice"),
        expected: to_network(calls(2.0, 0.0)),
        cases: &both(Work::Splice),
    },
    Row {
        number: 6,
        name: "mmap-read",
        about: "mmap(2) a file and look at every page",
        origin: Origin::Textbook,
        unit: Unit::Chunk,
        path: Some("mmap"),
        expected: Numbers { device_reads: Some(Expected::Exactly(1.0)), ..faults(1.0, PAGES_OF_CHUNK, 0.0) },
        cases: &both(Work::MmapRead),
    },
    Row {
        number: 7,
        name: "appends",
        about: "append records of 60 bytes: write(2) against a shared mapping",
        origin: Origin::Textbook,
        unit: Unit::Record,
        path: None,
        expected: NOTHING,
        cases: &[
            case_with("write", Work::AppendByWrite, Cache::Asis, calls(1.0, 1.0)),
            case_with(
                "mapping",
                Work::AppendByMapping,
                Cache::Asis,
                faults(0.0, RECORD_BYTES as f64 / PAGE_BYTES as f64, 0.0),
            ),
        ],
    },
    Row {
        number: 8,
        name: "demand-paging",
        about: "a mapping costs nothing until its pages are touched",
        origin: Origin::Further,
        unit: Unit::Page,
        path: None,
        expected: NOTHING,
        cases: &[
            case_with(
                "untouched",
                Work::MapOnly,
                Cache::Asis,
                Numbers { cpu_copies: None, ..faults(1.0, 0.0, 0.0) },
            ),
            case_with(
                "anonymous",
                Work::TouchAnonymous,
                Cache::Asis,
                Numbers { cpu_copies: None, ..faults(0.0, 1.0, 0.0) },
            ),
            case_with("minor", Work::TouchCached, Cache::Warm, faults(0.0, 1.0, 0.0)),
            case_with(
                "major",
                Work::TouchUncached,
                Cache::Cold,
                Numbers { device_reads: Some(Expected::Exactly(1.0)), ..faults(0.0, 1.0, 0.0) },
            ),
            case_with("copy-on-write", Work::CopyOnWrite, Cache::Warm, faults(0.0, 1.0, 1.0)),
        ],
    },
    Row {
        number: 9,
        name: "read-ahead",
        about: "one read brings in more than was asked for; the next ones hit it",
        origin: Origin::Further,
        unit: Unit::Page,
        path: Some("read"),
        expected: NOTHING,
        cases: &[
            case_with(
                "first",
                Work::ReadPage(0),
                Cache::Cold,
                Numbers { device_reads: Some(Expected::MoreThan(1.0)), ..calls(1.0, 1.0) },
            ),
            // It finds its page there, and with it the mark that tells the kernel to read on.
            case_with("second", Work::ReadPage(1), Cache::Asis, AGAIN),
            case_with("third", Work::ReadPage(2), Cache::Asis, AGAIN),
        ],
    },
    Row {
        number: 10,
        name: "shared-mapping",
        about: "one physical page in two processes",
        origin: Origin::Further,
        unit: Unit::Page,
        path: None,
        expected: Numbers { device_reads: Some(Expected::Exactly(0.0)), ..faults(0.0, 1.0, 0.0) },
        cases: &[case("two processes", Work::ShareMapping, Cache::Warm)],
    },
    Row {
        number: 11,
        name: "ways-in",
        about: "the three ways into the kernel",
        origin: Origin::Further,
        unit: Unit::Event,
        path: None,
        expected: NOTHING,
        cases: &[
            case_with(
                "system call",
                Work::Getppid,
                Cache::Asis,
                Numbers { cpu_copies: None, ..calls(1.0, 0.0) },
            ),
            case_with(
                "exception",
                Work::TouchAnonymous,
                Cache::Asis,
                Numbers { cpu_copies: None, ..faults(0.0, 1.0, 0.0) },
            ),
            case_with(
                "interrupt",
                Work::Spin,
                Cache::Asis,
                Numbers { mode_switches: Some(Expected::Exactly(2.0)), ..NOTHING },
            ),
        ],
    },
    Row {
        number: 12,
        name: "tee",
        about: "tee(2) a pipe into another, and splice(2) that into a TCP socket",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("tee"),
        expected: calls(2.0, 0.0),
        cases: &[case("warm", Work::Tee, Cache::Asis)],
    },
    Row {
        number: 13,
        name: "vmsplice",
        about: "vmsplice(2) memory into a pipe, and splice(2) that into a TCP socket",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("vmsplice"),
        expected: calls(2.0, 0.0),
        cases: &[case("warm", Work::Vmsplice, Cache::Asis)],
    },
    Row {
        number: 14,
        name: "copy_file_range",
        about: "copy_file_range(2) from a file to another: shared extents, or one copy",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("copy_file_range"),
        expected: Numbers { cpu_copies: Some(Expected::Either(0.0, 1.0)), ..calls(1.0, 0.0) },
        cases: &[case("warm", Work::CopyFileRange, Cache::Warm)],
    },
    Row {
        number: 15,
        name: "send-zerocopy",
        about: "send(2) with MSG_ZEROCOPY, and recvmsg(2) of its completion",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("send-zerocopy"),
        expected: calls(2.0, 0.0),
        cases: &[case("loopback", Work::SendZerocopy, Cache::Asis)],
    },
    Row {
        number: 16,
        name: "io_uring-read",
        about: "a file read through io_uring, one request to an io_uring_enter(2)",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("read"),
        expected: Numbers { device_reads: Some(Expected::Exactly(1.0)), ..calls(1.0, 1.0) },
        cases: &both(Work::RingRead),
    },
    Row {
        number: 17,
        name: "io_uring-send",
        about: "memory sent to a TCP socket through io_uring",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("write"),
        expected: calls(1.0, 1.0),
        cases: &[case("warm", Work::RingSend, Cache::Asis)],
    },
    Row {
        number: 18,
        name: "direct-read",
        about: "read(2) of a file that was opened with O_DIRECT",
        origin: Origin::Beyond,
        unit: Unit::Chunk,
        path: Some("direct-read"),
        expected: Numbers { device_reads: Some(Expected::Exactly(1.0)), ..calls(1.0, 0.0) },
        cases: &[case("cold", Work::DirectRead, Cache::Cold)],
    },
];

#[cfg(test)]
mod tests {
    use super::{super::rows::find, *};

    #[test]
    fn rows_are_found_by_number_and_by_name() {
        for row in ROWS {
            assert_eq!(find(row.name).map(|found| found.number), Some(row.number));
            assert_eq!(find(&row.number.to_string()).map(|found| found.name), Some(row.name));
        }
        assert!(find("0").is_none() && find("nonsense").is_none());
    }

    #[test]
    fn numbers_names_and_cases_are_unique() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(usize::from(row.number), index + 1);
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            for case in row.cases {
                assert!(case.name.len() <= 13, "{} is too long for its column", case.name);
                assert_eq!(
                    row.cases.iter().filter(|other| other.name == case.name).count(),
                    1,
                    "{}",
                    row.name
                );
            }
        }
    }

    #[test]
    fn the_seven_rows_are_those_of_the_textbook() {
        let table = [
            ("read+write", 2.0, 4.0, 2.0),
            ("sendfile-copied", 1.0, 2.0, 1.0),
            ("sendfile", 1.0, 2.0, 0.0),
            ("splice", 2.0, 4.0, 0.0),
        ];
        let exactly = |number| Some(Expected::Exactly(number));
        for (name, calls, switches, copies) in table {
            let numbers = find(name).expect("a row").expected;
            let found = [numbers.system_calls, numbers.mode_switches, numbers.cpu_copies];
            assert_eq!(found, [calls, switches, copies].map(exactly), "{name}");
            assert_eq!([numbers.device_reads, numbers.device_sends], [1.0, 1.0].map(exactly), "{name}");
        }
        let mapped = find("mmap+write").expect("a row").expected;
        assert_eq!(mapped.mode_switches, Some(Expected::AndTwoPerFault(4.0)));
        let read = find("mmap-read").expect("a row").expected;
        assert_eq!(
            (read.mode_switches, read.cpu_copies),
            (Some(Expected::AndTwoPerFault(2.0)), exactly(0.0))
        );
    }

    #[test]
    fn of_a_warm_cache_nothing_is_read_from_storage() {
        let row = find("read+write").expect("a row");
        let reads = |case: &Case| case.expected(row).device_reads;
        assert_eq!(
            row.cases.iter().map(reads).collect::<Vec<_>>(),
            [Some(Expected::Exactly(1.0)), Some(Expected::Exactly(0.0))]
        );
    }
}
