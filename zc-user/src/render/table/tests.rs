//! The table as a whole, on a small session.

use zc_common::{
    path::Path,
    row::{Costs, RowKey, RowValue, VALUE_CALLS_COUNTED, VALUE_FAULTS_COUNTED},
};

use super::*;
use crate::{
    model::{
        account,
        fixture::{samples, totals},
        report::{Hook, HookStatus, Tool},
        samples::{ObjectSample, ProcessSample, Row, Samples},
        seen::Seen,
    },
    render::view::Sort,
};

fn row(pid: u32, path: Path, from: (Kind, u32), to: (Kind, u32), bytes: u64, calls: u64) -> Row {
    let key = RowKey {
        path: path as u8,
        source_kind: from.0 as u8,
        source: from.1,
        destination_kind: to.0 as u8,
        destination: to.1,
        tid: pid,
        ..RowKey::default()
    };
    let own = Costs { calls, voluntary: calls / 7, minor: 2, ..Costs::default() };
    let transfers = if bytes > 0 { calls } else { 0 };
    Row {
        key,
        value: RowValue { tgid: pid, process_start_ns: 1, bytes, transfers, own, ..RowValue::default() },
        seen: Seen::default(),
    }
}

fn object(kind: Kind, name: &str) -> ObjectSample {
    ObjectSample {
        kind,
        device: 1,
        inode: 1,
        generation: 0,
        deleted: false,
        name: Some(name.to_owned()),
        local: None,
    }
}

/// nginx without sendfile, and a child that uses it.
fn session() -> Samples {
    let mut pair = row(812, Path::ReadWrite, (Kind::File, 1), (Kind::Tcp, 2), 4 << 20, 128);
    pair.value.taken = Costs { calls: 128, ..Costs::default() };
    let process = |pid, exit_code| ProcessSample {
        pid,
        start_ns: 1,
        comm: "nginx".to_owned(),
        cmdline: vec!["nginx:".to_owned(), "worker".to_owned()],
        exit_code,
        ..ProcessSample::default()
    };
    let both = VALUE_CALLS_COUNTED | VALUE_FAULTS_COUNTED;
    Samples {
        rows: vec![
            row(812, Path::Read, (Kind::File, 1), (Kind::Memory, 0), 4 << 20, 129),
            pair,
            row(812, Path::Write, (Kind::Memory, 0), (Kind::Tcp, 2), 300, 1),
            row(813, Path::Sendfile, (Kind::File, 1), (Kind::Tcp, 2), 1_500_000, 23),
        ],
        objects: [(1, object(Kind::File, "/srv/a.bin")), (2, object(Kind::Tcp, "127.0.0.1:50312"))].into(),
        processes: vec![process(812, Some(0)), process(813, None)],
        live_totals: vec![totals(812, 812, both), totals(813, 813, 0)],
        ..samples()
    }
}

fn table(samples: &Samples, options: &Options) -> String {
    render(&account(samples, Tool { version: "1.0.0".to_owned(), commit: None }), options)
}

#[test]
fn a_session_reads_like_this() {
    let expected = "\
zc 1.0.0  host  Linux 6.12.0 x86_64  2026-03-01T12:00:00Z  2.50 s

  PATH       FROM → TO     CALLS  BYTES COPIED UNKNOWN  CSW FAULTS  VERDICT
nginx 812  exit 0  syscalls 10  modesw 20+14  csw 3/2  faults 12/1
  read+write file → tcp      256   4MiB   8MiB       0 18/0    2/0  copied [1]
  write      memory → tcp      1   300B   300B       0  0/0    2/0  copied [2]
  read       file → memory     1      0      -       0 18/0    2/0  -
        4MiB       256 calls  read+write  /srv/a.bin → 127.0.0.1:50312
        300B         1 call   write       memory → 127.0.0.1:50312
nginx 813  exit -  syscalls -  modesw -  csw 3/2  faults 12/1
  sendfile   file → tcp       23 1.4MiB      -  1.4MiB  3/0    2/0  unknown [3]
      1.4MiB        23 calls  sendfile  /srv/a.bin → 127.0.0.1:50312
total of 2 processes  syscalls -  modesw -  csw 6/4  faults 24/2
  all paths                  281 5.4MiB   8MiB  1.4MiB

lost: nothing
[1] passed through user memory; sendfile, splice or copy_file_range can move it in the kernel
[2] written from user memory; data that is in a file can be sent with sendfile or splice
[3] not witnessed: sendfile hands on pages or copies them; pages go to sockets of devices with
    scatter-gather (ethtool -k)
modesw: by calls+by page faults; csw: voluntary/involuntary; faults: minor/major
";
    assert_eq!(table(&session(), &Options::default()), expected);
}

#[test]
fn a_leg_without_calls_says_where_they_are() {
    let told = "0 calls: counted in the row of those bytes of the same calls that were paired\n";
    assert!(!table(&session(), &Options::default()).contains(told));
    let mut samples = session();
    samples.rows.push(row(813, Path::Write, (Kind::Memory, 0), (Kind::Pipe, 0), 512, 0));
    assert!(table(&samples, &Options::default()).contains(told));
}

#[test]
fn what_is_cut_is_counted_so_that_the_totals_add_up() {
    let text = table(&session(), &Options { limit: Some(1), sort: Sort::Pid, ..Options::default() });
    assert!(text.contains("\n        300B  … 1 more flow\n"), "{text}");
    assert!(text.contains("\n… and 1 more process: 1.4MiB moved, 1.4MiB unknown\n"), "{text}");
    assert!(text.contains("  all paths                  281 5.4MiB   8MiB  1.4MiB\n"), "{text}");
    assert!(!text.contains("sendfile hands on"), "no footnote without its row: {text}");
}

#[test]
fn verbose_is_exact() {
    let text = table(&session(), &Options { verbose: true, ..Options::default() });
    assert!(text.contains("    command nginx: worker\n"), "{text}");
    assert!(text.contains(" 4194304 8388608 "), "{text}");
}

#[test]
fn losses_and_missing_hooks_are_said_with_what_to_do() {
    let mut samples = session();
    samples.lost = [("ring_full".to_owned(), 3), ("compat_calls".to_owned(), 1)].into();
    let hook = |name: &str, status, reason: Option<&str>| Hook {
        name: name.to_owned(),
        method: None,
        status,
        reason: reason.map(ToOwned::to_owned),
    };
    samples.hooks = vec![
        hook("sched_switch", HookStatus::Attached, None),
        hook("page_fault_user", HookStatus::Unavailable, Some("no such tracepoint")),
        hook("sys_exit", HookStatus::Disabled, None),
    ];
    let text = table(&samples, &Options::default());
    assert!(text.contains("\nlost: compat_calls 1, ring_full 3 (raise --ring-bytes)\n"), "{text}");
    assert!(text.contains("\nmissing: page_fault_user: no such tracepoint\n"), "{text}");
    assert!(!text.contains("sys_exit"), "{text}");
    let text = table(&samples, &Options { verbose: true, ..Options::default() });
    let hooks = "\nhooks: sched_switch, page_fault_user (missing), sys_exit (off)\n";
    assert!(text.contains(hooks), "{text}");
}

#[test]
fn every_loss_that_an_option_can_cure_names_one_that_exists() {
    use clap::CommandFactory as _;
    let cli = crate::cli::args::Cli::command();
    let run = cli.find_subcommand("run").unwrap();
    let options: Vec<_> = run.get_arguments().filter_map(clap::Arg::get_long).collect();
    let remedies: Vec<_> =
        zc_common::loss::Loss::ALL.iter().filter_map(|loss| notes::remedy(loss.name())).collect();
    assert_eq!(remedies.len(), 6);
    for remedy in remedies {
        assert!(options.contains(&remedy.trim_start_matches('-')), "{remedy}");
    }
}

#[test]
fn ascii_and_colours_are_as_asked() {
    let text = table(&session(), &Options { ascii: true, limit: Some(1), ..Options::default() });
    assert!(text.is_ascii(), "{text}");
    let colors = table(&session(), &Options { color: true, ..Options::default() });
    assert!(colors.contains("\u{1b}[1mnginx 812\u{1b}[0m  exit 0"), "{colors}");
    let plain = table(&session(), &Options::default());
    assert!(!plain.contains('\u{1b}'));
    let stripped: String = colors
        .split('\u{1b}')
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once('m').unwrap().1 })
        .collect();
    assert_eq!(stripped, plain);
}

#[test]
fn lines_fit_100_columns_whatever_the_numbers_and_names() {
    let mut samples = session();
    for object in samples.objects.values_mut() {
        object.name = Some("/a/very/long\u{1b}[31m/name".repeat(20));
    }
    for process in &mut samples.processes {
        process.comm = "w".repeat(15);
    }
    samples.host.hostname = "h".repeat(64);
    for row in &mut samples.rows {
        row.key.path = row.key.path.max(3);
        for value in [&mut row.value.bytes, &mut row.value.own.calls, &mut row.value.own.voluntary] {
            *value = 0x00FF_FFFF_FFFF_FFFF;
        }
        row.value.own.minor = 99_999_999;
        row.value.own.involuntary = 99_999_999;
        row.value.own.major = 99_999_999;
        row.value.taken = Costs::default();
    }
    for thread in &mut samples.live_totals {
        thread.flags = 3;
        thread.own = samples.rows[0].value.own;
        thread.user_faults = 99_999_999;
    }
    samples.lost = zc_common::loss::Loss::ALL.iter().map(|loss| (loss.name().to_owned(), 99_999)).collect();
    let text = table(&samples, &Options::default());
    for line in text.lines() {
        assert!(human::width(line) <= WIDTH, "{}: {line}", human::width(line));
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn an_empty_session_is_a_report_too() {
    let text = table(&samples(), &Options::default());
    assert!(text.contains("total of 0 processes"), "{text}");
}
