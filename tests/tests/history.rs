//! The history as others see it: `DuckDB` reads what several hosts have kept, a writer is killed, a disk is full.
//!
//! The witnesses: sums that are made here from the intervals that were written, and what zc reads itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zc::{
    history::{self, Entry, History, Host, Limits},
    model::{
        interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange, Who},
        reason::Reason,
        report::{Evidence, Via},
    },
};
use zc_common::path::{Kind, Path as Way};
use zc_tests::{
    job::Job,
    machine::{require_cmd, require_root, temp_dir},
    venv,
};

const DUCKDB: &str = "duckdb==2.0.1";
const KEEP_ALL: Limits = Limits { max_age: Duration::MAX, max_bytes: u64::MAX };

/// A Python that has `DuckDB`, in an environment that is made once; says why the test is skipped when it cannot be.
fn duckdb() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    PYTHON.get_or_init(|| venv::python_with(DUCKDB, "duckdb")).as_deref()
}

/// The rows of the last of these statements.
fn sql(python: &str, statements: &str) -> Vec<Vec<Value>> {
    let script = "import duckdb, json, sys\n\
                  c = duckdb.connect()\n\
                  print(json.dumps(c.execute(sys.argv[1]).fetchall(), default=str))";
    let done = Job::new(&[python, "-c", script, statements]).finish();
    assert_eq!(done.code(), 0, "{statements}: {}", done.stderr);
    serde_json::from_slice(&done.stdout).expect("JSON")
}

/// Numbers that look like any, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn change(&mut self, may_fall: bool) -> i64 {
        let number = self.below(1 << 20).cast_signed();
        if may_fall && self.below(4) == 0 { -number } else { number }
    }

    /// Rows of one sort, of which there are four, are of one verdict as long as nothing falls.
    fn row(&mut self, may_fall: bool, way: Way, sort: u32) -> RowChange {
        let mut maybe = |of: u64| (self.below(of) > 0).then(|| self.change(may_fall));
        let (some, device_read_bytes, minor_faults) = (maybe(3), maybe(2), maybe(2));
        let bytes = self.change(may_fall);
        let (copied, by_reference, unknown_bytes) = match sort {
            0 => (Some(0), Some(bytes), 0),
            1 => (Some(2 * bytes), None, 0),
            2 => (some, Some(bytes / 2), bytes / 4),
            _ => (None, some, bytes),
        };
        let evidence = if sort == 1 { Evidence::Inferred } else { Evidence::Witnessed };
        RowChange {
            name: RowName { path: way, via: Via::Syscall, source: Kind::File, destination: Kind::Tcp },
            transfers: self.change(may_fall),
            syscalls: self.change(may_fall),
            bytes,
            cpu_copied_bytes: copied,
            by_reference_bytes: by_reference,
            unknown_bytes,
            device_read_bytes,
            mode_switches: self.change(may_fall),
            voluntary: None,
            involuntary: None,
            minor_faults,
            major_faults: minor_faults,
            rchar_bytes: self.change(may_fall),
            wchar_bytes: 0,
            evidence,
            reason: (self.below(2) == 0).then_some(Reason::Sendfile),
        }
    }

    fn process(&mut self, may_fall: bool, pid: u32) -> ProcessChange {
        let who = Who {
            pid,
            ppid: Some(1),
            start_ns: u64::from(pid) << 30,
            comm: Some(format!("worker \"{}\"", pid % 3)),
            cmdline: vec!["worker".to_owned(), "--ümlaut='x'".to_owned()],
            container: pid.is_multiple_of(2).then(|| "c0ffee".to_owned()),
            ..Who::default()
        };
        let rows = Way::ALL.into_iter().filter(|_| self.below(4) == 0).collect::<Vec<_>>();
        let rows = rows.into_iter().map(|way| self.row(may_fall, way, (pid + way as u32) % 4)).collect();
        let totals = TotalsChange {
            syscalls: Some(self.change(may_fall)),
            device_read_bytes: pid.is_multiple_of(3).then(|| self.change(may_fall)),
            ..TotalsChange::default()
        };
        ProcessChange { who, exit_code: (self.below(9) == 0).then_some(137), totals, rows }
    }

    /// An interval of a minute in each minute of three hours, with a gap.
    fn intervals(&mut self, may_fall: bool) -> Vec<Interval> {
        let first: Timestamp = "2026-03-01T22:00:00Z".parse().expect("a time");
        let minutes = (0..180).filter(|minute| !(70..80).contains(minute));
        minutes
            .map(|minute| {
                let start = first + SignedDuration::from_mins(minute);
                let lost = if self.below(5) == 0 {
                    BTreeMap::from([("ring_full".to_owned(), 1 + self.below(9))])
                } else {
                    BTreeMap::new()
                };
                let processes = (1..=5).filter(|_| self.below(3) > 0).collect::<Vec<_>>();
                Interval {
                    start,
                    end: start + SignedDuration::from_mins(1) - SignedDuration::from_micros(1),
                    lost,
                    processes: processes.into_iter().map(|pid| self.process(may_fall, pid)).collect(),
                }
            })
            .collect()
    }
}

fn host(name: &str, boot: &str) -> Host {
    Host {
        hostname: name.to_owned(),
        kernel: "6.12.0".to_owned(),
        arch: "x86_64".to_owned(),
        cpus: 4,
        boot_id: Some(boot.to_owned()),
    }
}

/// What the hosts have kept, in one store, as by the command in the documentation.
struct Fleet {
    dir: tempfile::TempDir,
    written: Vec<(Host, Vec<Interval>)>,
}

impl Fleet {
    fn new(may_fall: bool) -> Self {
        let dir = temp_dir();
        let hosts =
            [host("web1", "11111111-aaaa"), host("web1", "22222222-bbbb"), host("db 1", "33333333-cccc")];
        let mut written = Vec::new();
        for (index, host) in hosts.into_iter().enumerate() {
            let of_host = dir.path().join(format!("host{index}"));
            let (mut history, notices) = History::open(&of_host, host.clone(), KEEP_ALL).expect("a history");
            assert_eq!(notices, []);
            let intervals = Numbers(index as u64).intervals(may_fall);
            for interval in &intervals {
                history.append(interval).expect("room");
                let rolled = history.roll(interval.end);
                assert!(rolled.failed.is_empty() && rolled.notices.is_empty(), "{rolled:?}");
            }
            let rolled = history.roll("2026-03-02T01:00:00Z".parse().expect("a time"));
            assert_eq!(rolled.finished.len(), 4);
            copy(&of_host.join("parquet"), &dir.path().join("store/parquet"));
            written.push((host, intervals));
        }
        Self { dir, written }
    }

    fn store(&self) -> String {
        self.dir.path().join("store").to_str().expect("UTF-8").to_owned()
    }

    fn table(&self, name: &str) -> String {
        format!("read_parquet('{}/parquet/{name}/**/*.parquet', hive_partitioning = true)", self.store())
    }

    /// Sums of all rows of a column, by host and boot; null when all are.
    fn sums(&self, of: impl Fn(&ProcessChange) -> Vec<Option<i64>>) -> Vec<Vec<Value>> {
        let mut sums = BTreeMap::new();
        for (host, intervals) in &self.written {
            let sum = sums.entry((&host.hostname, &host.boot_id)).or_insert(None);
            for number in intervals.iter().flat_map(|interval| &interval.processes).flat_map(&of).flatten() {
                *sum = Some(sum.unwrap_or(0) + number);
            }
        }
        let row = |((name, boot), sum): ((&String, &Option<String>), Option<i64>)| {
            vec![name.as_str().into(), boot.clone().into(), sum.into()]
        };
        sums.into_iter().map(row).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the store");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            assert!(!target.exists(), "two hosts have a file of one name: {}", target.display());
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

type OfRow = fn(&RowChange) -> Option<i64>;

#[test]
fn duckdb_adds_up_what_was_written() {
    let Some(python) = duckdb() else { return };
    let fleet = Fleet::new(true);
    let columns: [(&str, OfRow); 10] = [
        ("transfers", |row| Some(row.transfers)),
        ("syscalls", |row| Some(row.syscalls)),
        ("bytes", |row| Some(row.bytes)),
        ("cpu_copied_bytes", |row| row.cpu_copied_bytes),
        ("by_reference_bytes", |row| row.by_reference_bytes),
        ("unknown_bytes", |row| Some(row.unknown_bytes)),
        ("device_read_bytes", |row| row.device_read_bytes),
        ("mode_switches", |row| Some(row.mode_switches)),
        ("voluntary_context_switches", |row| row.voluntary),
        ("major_page_faults", |row| row.major_faults),
    ];
    let sums = |table: &str, column: &str| {
        let from = fleet.table(table);
        let by = "SELECT hostname, boot_id";
        sql(python, &format!("{by}, CAST(sum({column}) AS BIGINT) FROM {from} GROUP BY ALL ORDER BY ALL"))
    };
    for (column, of) in columns {
        let expected = fleet.sums(|process| process.rows.iter().map(of).collect());
        assert_eq!(sums("paths", column), expected, "{column}");
    }
    assert_eq!(sums("processes", "syscalls"), fleet.sums(|process| vec![process.totals.syscalls]));
    let device = fleet.sums(|process| vec![process.totals.device_read_bytes]);
    assert_eq!(sums("processes", "device_read_bytes"), device);
    let lost = fleet.written.iter().flat_map(|(_, all)| all).flat_map(|one| one.lost.values());
    let lost: u64 = lost.sum();
    assert_eq!(
        sql(python, &format!("SELECT CAST(sum(count) AS BIGINT) FROM {}", fleet.table("losses"))),
        [[lost]]
    );
    let counts = "SELECT count(*), count(DISTINCT interval_end), CAST(sum(processes) AS BIGINT), CAST(sum(path_rows) AS BIGINT)";
    let all = || fleet.written.iter().flat_map(|(_, intervals)| intervals);
    let processes = || all().flat_map(|interval| &interval.processes);
    let rows: usize = processes().map(|process| process.rows.len()).sum();
    let expected = [510, 170, processes().count(), rows];
    assert_eq!(sql(python, &format!("{counts} FROM {}", fleet.table("intervals"))), [expected]);
}

#[test]
fn duckdb_sees_partitions_types_and_texts() {
    let Some(python) = duckdb() else { return };
    let fleet = Fleet::new(true);
    let (paths, processes) = (fleet.table("paths"), fleet.table("processes"));
    let partitions = format!(
        "SELECT CAST(date AS VARCHAR), CAST(hour AS INT), count(DISTINCT filename) FROM {}",
        paths.replace(')', ", filename = true)")
    );
    let expected = [("2026-03-01", 22), ("2026-03-01", 23), ("2026-03-02", 0)];
    let expected = expected.map(|(date, hour)| vec![Value::from(date), hour.into(), 3.into()]);
    assert_eq!(sql(python, &format!("{partitions} GROUP BY ALL ORDER BY ALL")), expected);
    let types = "SELECT typeof(interval_end), typeof(bytes), typeof(comm), typeof(cpu_copied_bytes)";
    let expected = ["TIMESTAMP WITH TIME ZONE", "BIGINT", "VARCHAR", "BIGINT"];
    assert_eq!(sql(python, &format!("{types} FROM {paths} LIMIT 1")), [expected]);
    let times = format!("SELECT epoch_us(min(interval_start)), epoch_us(max(interval_end)) FROM {paths}");
    let all = &fleet.written[0].1;
    let expected = [all[0].start.as_microsecond(), all[all.len() - 1].end.as_microsecond()];
    assert_eq!(sql(python, &times), [expected], "some process of some host is in each interval");
    let texts = format!("SELECT DISTINCT comm, cmdline->>1, container FROM {processes} WHERE pid = 4");
    assert_eq!(sql(python, &texts), [["worker \"1\"", "--ümlaut='x'", "c0ffee"]]);
    let nulls = format!(
        "SELECT count(*) FROM {processes} WHERE exe IS NOT NULL OR (pid = 5) <> (container IS NULL AND pid = 5)"
    );
    assert_eq!(sql(python, &nulls), [[0]]);
}

/// The statements of the documentation's part on `DuckDB`, and that on verdicts.
fn documented() -> (Vec<String>, String) {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/history.md"))
        .expect("the documentation");
    let block = |after: &str| {
        let (_, rest) = document.split_once(after).unwrap_or_else(|| panic!("no {after}"));
        let (_, rest) = rest.split_once("```sql\n").expect("a block");
        rest.split_once("```").expect("its end").0.to_owned()
    };
    let of_duckdb = block("\nDuckDB:");
    let statements = of_duckdb.split(';').map(|statement| statement.trim().to_owned());
    (statements.filter(|statement| !statement.is_empty()).collect(), block("### Verdicts"))
}

#[test]
fn the_documented_queries_answer_what_they_say() {
    let Some(python) = duckdb() else { return };
    let fleet = Fleet::new(false);
    let (statements, verdicts) = documented();
    let [view, queries @ ..] = &statements[..] else { panic!("no statements") };
    let answer = |query: &str| sql(python, &format!("{view}; {query}").replace("DIR", &fleet.store()));
    for query in queries {
        let rows = answer(query);
        assert!(!rows.is_empty(), "{query}");
        if query.contains("lag(") {
            assert!(rows.len() >= 2, "a gap of each host: {rows:?}");
        }
    }
    // The view is of all hosts; verdicts are those of zc's own reading, host by host.
    let by_sql: BTreeMap<String, String> = answer(&verdicts)
        .iter()
        .map(|row| {
            let text = |index: usize| row[index].as_str().expect("a text");
            (format!("{} {} {}", text(1), row[2], text(4)), text(row.len() - 1).to_owned())
        })
        .collect();
    let mut by_zc = BTreeMap::new();
    for (index, (host, intervals)) in fleet.written.iter().enumerate() {
        let dir = fleet.dir.path().join(format!("host{index}"));
        let mut reading = history::read(&dir, Timestamp::MIN, Timestamp::MAX).expect("a history");
        let entries: Vec<Entry> = reading.by_ref().collect();
        assert_eq!(reading.notices(), []);
        assert!(
            entries.iter().map(|entry| &entry.interval).eq(intervals),
            "what was read is what was written"
        );
        let past = history::report(entries, Timestamp::MIN, Timestamp::MAX).expect("a report");
        for process in &past.report.processes {
            for row in &process.paths {
                let boot = host.boot_id.as_deref().expect("a boot id");
                by_zc.insert(
                    format!("{boot} {} {}", process.pid, row.path.name()),
                    row.figures.verdict.name().to_owned(),
                );
            }
        }
    }
    assert_eq!(by_sql, by_zc);
    let kinds = by_zc.values().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(kinds.len(), 4, "every verdict is among them: {kinds:?}");
}

const CHILD: &str = "ZC_HISTORY_WRITES_TO";

/// Not a test: what [`a_writer_that_is_killed_loses_one_interval_at_most`] starts and kills.
#[test]
fn writer_of_another_process() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (mut history, notices) =
        History::open(Path::new(&dir), host("web1", "1"), KEEP_ALL).expect("a history");
    eprintln!("{} notices", notices.len());
    let reading = history::read(Path::new(&dir), Timestamp::MIN, Timestamp::MAX).expect("a history");
    let mut written = reading.count();
    let first: Timestamp = "2026-03-01T00:00:00Z".parse().expect("a time");
    loop {
        // Forty intervals of an hour, so that many are killed while an hour is finished.
        let start = first + SignedDuration::from_secs(90) * i32::try_from(written).expect("a few");
        let mut interval = Numbers(1).intervals(true).remove(0);
        (interval.start, interval.end) = (start, start + SignedDuration::from_secs(90));
        interval.lost = BTreeMap::from([("number".to_owned(), written as u64)]);
        history.append(&interval).expect("room");
        written += 1;
        println!("{written}");
        let rolled = history.roll(interval.end);
        assert!(rolled.failed.is_empty(), "{rolled:?}");
    }
}

#[test]
fn a_writer_that_is_killed_loses_one_interval_at_most() {
    let dir = temp_dir();
    let this = std::env::current_exe().expect("this program");
    let words = [this.to_str().expect("UTF-8"), "--exact", "writer_of_another_process", "--nocapture"];
    let mut said = 0;
    for round in 0..25 {
        let mut running = Job::new(&words).env(CHILD, dir.path().to_str().expect("UTF-8")).start();
        std::thread::sleep(Duration::from_millis(60 + 7 * round));
        let output = String::from_utf8(running.stdout_so_far()).expect("text");
        drop(running);
        said = said.max(output.lines().filter_map(|line| line.parse::<u64>().ok()).max().unwrap_or(0));
        let mut reading = history::read(dir.path(), Timestamp::MIN, Timestamp::MAX).expect("a history");
        let numbers: Vec<u64> =
            reading.by_ref().filter_map(|entry| entry.interval.lost.get("number").copied()).collect();
        assert_eq!(reading.notices(), []);
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "each once, none missing: {numbers:?}");
        assert!(numbers.len() as u64 >= said, "{} were kept, {said} were said to be", numbers.len());
    }
    assert!(said > 50, "the writer got on: {said}");
}

/// A small file system in memory; gone when dropped.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        Job::new(&["umount", "--lazy", self.0.to_str().expect("UTF-8")]).finish();
    }
}

#[test]
fn a_full_or_read_only_disk_is_said_and_survived() {
    if !require_root() || !require_cmd("mount") {
        return;
    }
    let dir = temp_dir();
    let path = dir.path().to_str().expect("UTF-8");
    let mount = |options: &str| {
        let done = Job::new(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", path]).finish();
        assert!(done.status.success(), "{}", done.stderr);
    };
    mount("size=256k,mode=750");
    let _small = Small(dir.path().to_path_buf());
    let (mut history, _) = History::open(dir.path(), host("web1", "1"), KEEP_ALL).expect("a history");
    let intervals = Numbers(1).intervals(true);
    fs::write(dir.path().join("filler"), vec![0; 200 << 10]).expect("room");
    let mut kept = 0;
    let error = loop {
        match history.append(&intervals[kept]) {
            Ok(()) => kept += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("No space left on device") && error.contains("make room"), "{error}");
    let count = || history::read(dir.path(), Timestamp::MIN, Timestamp::MAX).expect("a history").count();
    assert_eq!(count(), kept);
    let rolled = history.roll("2026-03-02T12:00:00Z".parse().expect("a time"));
    assert!(!rolled.failed.is_empty(), "there is no room for Parquet either");
    assert_eq!(count(), kept, "and nothing is lost by it");
    fs::remove_file(dir.path().join("filler")).expect("the filler");
    history.append(&intervals[kept]).expect("room again");
    let rolled = history.roll("2026-03-02T12:00:00Z".parse().expect("a time"));
    assert!(rolled.failed.is_empty() && rolled.notices.is_empty(), "{rolled:?}");
    assert_eq!(count(), kept + 1);
    drop(history);
    mount("remount,ro,size=256k");
    let error = History::open(dir.path(), host("web1", "1"), KEEP_ALL).expect_err("read-only").to_string();
    assert!(error.contains("Read-only file system") && error.contains("mount"), "{error}");
    assert_eq!(count(), kept + 1, "it can be read");
    mount("remount,rw,size=256k");
    let (_history, notices) = History::open(dir.path(), host("web1", "1"), KEEP_ALL).expect("a history");
    assert_eq!(notices, []);
}
