//! `zc lab`: the textbook's table comes true on this machine, but for differences that are known; and nothing stays behind.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use zc_tests::{
    job::{Done, Job},
    lab::{
        ALWAYS, SOMETIMES, array, assert_sendfile_differs_by_device, case, cases, disagreements, is_known_as,
        lab, sendfile_by_device, text,
    },
    machine::{temp_dir, wait_for},
    zc::{Zc, binary},
};

#[test]
fn the_textbook_comes_true_but_for_known_differences() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    let answer = lab(&zc, dir.path(), &[]);
    assert_eq!(text(&answer, "schema"), "zc.lab/1");
    let lost = answer["lost"].as_object().expect("counters");
    assert!(lost.values().all(|count| count == 0), "{lost:?}");
    for (row, case) in cases(&answer) {
        assert_eq!(case["skipped"], Value::Null, "{row}");
    }
    let disagreements = disagreements(&answer);
    let mut unknown = disagreements.clone();
    unknown.retain(|one| !ALWAYS.iter().chain(SOMETIMES).any(|known| is_known_as(known, one)));
    assert!(unknown.is_empty(), "differences that are not in the list: {unknown:#?}");
    for known in ALWAYS {
        for row in known.0 {
            let found = disagreements.iter().any(|one| one.row == *row && is_known_as(known, one));
            assert!(found, "{} of {row} is in the list of differences, and does not differ", known.1);
        }
    }
}

/// Rows 3 and 4 of the textbook are one call, and differ by what was seen to leave.
#[test]
fn sendfile_copies_where_the_device_has_no_scatter_gather_and_only_there() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    let answer = sendfile_by_device(&zc, dir.path());
    assert_sendfile_differs_by_device(&answer);
}

/// What holds whatever zc cannot see yet: these numbers must be there and right.
#[test]
fn calls_and_mode_switches_are_those_of_the_textbook() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    // Not a multiple of a transfer.
    let answer = lab(
        &zc,
        dir.path(),
        &[
            "--size",
            "1100001",
            "--only",
            "read+write",
            "--only",
            "4",
            "--only",
            "5",
            "--only",
            "sendfile-copied",
        ],
    );
    for (row, calls) in [("read+write", 2.0), ("sendfile-copied", 1.0), ("sendfile", 1.0), ("splice", 2.0)] {
        for name in ["cold", "warm"] {
            let case = case(&answer, row, name);
            let measured = &case["measured"];
            assert_eq!(
                (measured["transfers"].as_u64(), measured["bytes"].as_u64()),
                (Some(17), Some(1_100_001)),
                "{row}"
            );
            assert_eq!(measured["system_calls"].as_f64(), Some(calls), "{row} {name}");
            assert_eq!(measured["mode_switches"].as_f64(), Some(2.0 * calls), "{row} {name}");
            let cached = array(case, "cached_pages");
            let wanted = if name == "cold" { 0 } else { 269 };
            assert_eq!((cached[0].as_u64(), cached[1].as_u64()), (Some(wanted), Some(269)), "{row} {name}");
        }
    }
    let copies = case(&answer, "read+write", "cold")["measured"]["cpu_copies"].as_f64();
    assert_eq!(copies, Some(2.0), "every byte is copied twice");
    assert_eq!(array(&answer, "rows").len(), 4, "only the rows asked for");
    assert_eq!(answer["appends"], Value::Null);
}

#[test]
fn appends_take_a_call_a_record_or_a_fault_a_page() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    let answer = lab(&zc, dir.path(), &["--only", "appends"]);
    let seen = array(&case(&answer, "appends", "mapping")["measured"], "seen");
    let bytes: Vec<_> = seen
        .iter()
        .map(|row| (text(row, "path"), text(row, "source"), text(row, "destination"), row["bytes"].as_u64()))
        .collect();
    let pages = 60_000_000_u64.next_multiple_of(4096);
    let [("mmap", "file", "memory", mapped), ("mmap", "memory", "file", Some(written))] = bytes[..] else {
        panic!("{bytes:?}");
    };
    assert_eq!(mapped, Some(pages));
    // A page that was sent to storage before it was full is made writable once more.
    assert!((pages..pages + 64 * 4096).contains(&written), "{written} bytes made writable of {pages}");
    let points = array(&answer["appends"], "points");
    let records: Vec<_> = points.iter().filter_map(|point| point["records"].as_u64()).collect();
    assert!(records.contains(&50) && records.contains(&1_000_000), "{records:?}");
    for point in points {
        let records = point["records"].as_u64().expect("a number");
        assert_eq!(point["write"]["system_calls"].as_u64(), Some(records));
        assert_eq!(point["mapping"]["system_calls"].as_u64(), Some(3), "ftruncate, mmap, munmap");
        let faults = point["mapping"]["faults"].as_u64().expect("faults");
        let pages = (records * 60).div_ceil(4096);
        assert!((1..=pages + 4).contains(&faults), "{faults} faults of {pages} pages");
        assert!(
            point["write"]["seconds"].as_f64() > Some(0.0)
                && point["mapping"]["seconds"].as_f64() > Some(0.0)
        );
    }
    let last = points.last().expect("a point");
    assert!(
        last["write"]["seconds"].as_f64() > last["mapping"]["seconds"].as_f64(),
        "at a million records the mapping wins"
    );
}

#[test]
fn one_page_is_the_same_in_both_processes() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    let answer = lab(&zc, dir.path(), &["--only", "shared-mapping", "--size", "1MiB"]);
    assert_eq!(case(&answer, "shared-mapping", "two processes")["facts"]["same_pages"].as_u64(), Some(256));
}

#[test]
fn the_table_fits_the_screen_and_the_csv_has_a_line_for_each_case() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    let dir = dir.path().to_str().expect("a UTF-8 path");
    let only = ["lab", "--dir", dir, "--size", "64KiB", "--only", "1", "--only", "ways-in"];
    let run = |more: &[&str]| {
        let done = zc.job(&[&only[..], more].concat()).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        String::from_utf8(done.stdout).expect("text")
    };
    let table = run(&[]);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert!(
        table.contains("read+write") && table.contains("interrupt") && !table.contains('\u{1b}'),
        "{table}"
    );
    let rows = zc_tests::csv::parse(&run(&["--format", "csv"]));
    assert_eq!(rows.len(), 2 + 3);
    assert!(rows.iter().all(|row| row["system_calls"].parse::<f64>().is_ok()), "{rows:?}");
}

/// Processes of the `zc` under test, and those of them that are in a network namespace of their own.
fn leftovers() -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    let namespace = |path: &Path| fs::read_link(path.join("ns/net")).ok();
    let ours = namespace(Path::new("/proc/self"));
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let workers: BTreeSet<_> =
        processes.filter(|path| fs::read_link(path.join("exe")).is_ok_and(|exe| exe == binary())).collect();
    let apart = workers
        .iter()
        .filter(|path| namespace(path).is_some_and(|name| Some(name) != ours))
        .cloned()
        .collect();
    (workers, apart)
}

fn assert_nothing_left(dir: &Path) {
    wait_for("the lab's processes to end", || leftovers().0.is_empty().then_some(()));
    let files: Vec<_> =
        fs::read_dir(dir).expect("the directory").flatten().map(|entry| entry.path()).collect();
    assert!(files.is_empty(), "left behind: {files:?}");
}

/// Starts a lab, waits until it is in the middle of the row with network namespaces, and sends a signal.
fn interrupted(zc: &Zc, dir: &Path, send: impl Fn(&zc_tests::job::Running)) -> Done {
    let words = [
        "lab",
        "--dir",
        dir.to_str().expect("UTF-8"),
        "--only",
        "sendfile-copied",
        "--only",
        "appends",
        "--size",
        "64MiB",
    ];
    let running = zc.job(&words).start();
    wait_for("a network namespace of the lab", || (!leftovers().1.is_empty()).then_some(()));
    send(&running);
    running.finish()
}

#[test]
fn nothing_is_left_behind_however_it_ends() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = temp_dir();
    assert_eq!(leftovers().0, BTreeSet::new(), "of an earlier run");
    lab(&zc, dir.path(), &["--only", "sendfile-copied", "--size", "1MiB"]);
    assert_nothing_left(dir.path());

    // Ctrl-C on a terminal goes to all processes.
    let done = interrupted(&zc, dir.path(), |running| running.signal_group(libc::SIGINT));
    assert_eq!((done.code(), done.stdout.len()), (130, 0), "{}", done.stderr);
    assert_nothing_left(dir.path());

    let done = interrupted(&zc, dir.path(), |running| running.signal(libc::SIGTERM));
    assert_eq!(done.code(), 143, "{}", done.stderr);
    assert_nothing_left(dir.path());

    // Nobody can put anything away on this one.
    let done = interrupted(&zc, dir.path(), |running| running.signal(libc::SIGKILL));
    assert_eq!(done.status.code(), None);
    assert_nothing_left(dir.path());
}

#[test]
fn wrong_words_are_refused_before_anything_is_run() {
    let zc = binary();
    let zc = zc.to_str().expect("a UTF-8 path");
    let run = |words: &[&str]| Job::new(&[&[zc, "lab"], words].concat()).finish();
    for wrong in [
        &["--only", "nonsense"][..],
        &["--size", "1"],
        &["--size", "2GiB"],
        &["--format", "xml"],
        &["--only"],
    ] {
        assert_eq!(run(wrong).code(), 2, "{wrong:?}");
    }
    let nowhere = run(&["--dir", "/nonexistent", "-o", "/dev/null"]);
    assert_eq!(nowhere.code(), 1, "{}", nowhere.stderr);
    assert!(nowhere.stderr.contains("--dir"), "{}", nowhere.stderr);
    let list = run(&["--list"]);
    assert_eq!(list.code(), 0);
    assert!(String::from_utf8_lossy(&list.stdout).contains("demand-paging"));
}

#[test]
fn without_privileges_it_says_so_and_exits_with_4() {
    let Some(zc) = Zc::with(&["setpriv"]) else { return };
    let dir = temp_dir();
    let zc_path = zc.bin().to_str().expect("a UTF-8 path");
    let words = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        zc_path,
        "lab",
        "--dir",
        dir.path().to_str().expect("UTF-8"),
    ];
    let done = Job::new(&words).finish();
    assert_eq!(done.code(), 4, "{}", done.stderr);
    assert!(done.stderr.contains("CAP_BPF"), "{}", done.stderr);
}
