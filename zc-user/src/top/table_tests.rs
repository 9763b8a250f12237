use zc_common::path::Path;

use super::*;
use crate::{
    model::{Interval, interval::ProcessChange},
    render::view::Sort,
    top::tally::{
        Tally,
        tests::{interval, process, row},
    },
};

const PLAIN: Style =
    Style { by: By::Path, limit: 20, width: WIDTH, height: None, verbose: false, color: false, ascii: true };

fn frame(change: &Interval) -> Frame {
    let mut tally = Tally::default();
    tally.add(change, 2.0);
    let mut frame = tally.close();
    frame.sort(Sort::Bytes);
    frame
}

fn named(pid: u32, comm: &str, cgroup: &str, bytes: i64) -> ProcessChange {
    let rows = vec![
        row(Path::Sendfile, bytes, Some(0), Some(bytes)),
        row(Path::Read, bytes / 4, Some(bytes / 4), Some(0)),
    ];
    let mut change = process(pid, 1, rows);
    change.who.comm = Some(comm.to_owned());
    change.who.cgroup = Some(cgroup.to_owned());
    change
}

fn busy() -> Interval {
    let ended = ProcessChange { exit_code: Some(137), ..named(4_194_304, "a b\x1b[2J", "/x", 300) };
    let mut change = interval(vec![
        named(812, "nginx", "/system.slice/nginx.service", 8 << 20),
        named(813, "nginx", "/system.slice/nginx.service", 1 << 20),
        ended,
        ProcessChange { exit_code: Some(0), ..process(9, 1, Vec::new()) },
    ]);
    change.processes[0].rows[1].unknown_bytes = 5;
    change
}

#[test]
fn a_line_for_each_path_with_columns_that_line_up() {
    let text = render(&frame(&busy()), "daemon", &PLAIN);
    let expected = "\
2026-03-01T12:00:02Z  per second over 2.00 s  daemon
    PID PATH       BYTES  COPIED    REF UNK CALLS  C/B CSW FLT VERDICT   COMMAND
    812 sendfile    4MiB       0   4MiB       0   0.5  0.0   -   - zero-copy nginx
    812 read        1MiB    1MiB      0      2B   0.5 1.0+   -   - unknown   nginx
    813 sendfile  512KiB       0 512KiB       0   0.5  0.0   -   - zero-copy nginx
    813 read      128KiB  128KiB      0       0   0.5  1.0   -   - copied    nginx
4194304 sendfile    150B       0   150B       0   0.5  0.0   -   - zero-copy [exit 137] a b\\u{1b}[2J
4194304 read         37B     37B      0       0   0.5  1.0   -   - copied    [exit 137] a b\\u{1b}[2J
      9 -              -       -      -       -     -    -   -   - -         [exit 0] cat
  total all       5.6MiB  1.1MiB 4.5MiB       2B     3 0.2+   -   - mixed     4 processes
";
    let words = |text: &str| {
        let line = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(words(&text), words(expected), "{text}");
    let column = |line: &str| line.find("zero-copy").or(line.find("VERDICT"));
    let columns: Vec<_> = text.lines().skip(1).filter_map(column).collect();
    assert!(columns.windows(2).all(|both| both[0] == both[1]), "{text}");
    assert!(text.lines().all(|line| width(line) <= 100), "{text}");
}

#[test]
fn processes_and_services_have_a_line_each() {
    let frame = frame(&busy());
    let text = render(&frame, "own", &Style { by: By::Process, ..PLAIN });
    let ids: Vec<_> = text.lines().skip(2).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    assert_eq!(ids, ["812", "813", "4194304", "9", "total"]);
    let text = render(&frame, "own", &Style { by: By::Service, limit: 2, ..PLAIN });
    let services: Vec<_> = text
        .lines()
        .skip(2)
        .map(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            (words[0].to_owned(), words.last().copied().unwrap_or("").to_owned())
        })
        .collect();
    assert_eq!(services[0], ("2".to_owned(), "nginx.service".to_owned()), "{text}");
    assert_eq!(services.last().map(|(_, last)| last.as_str()), Some("service"), "{text}");
}

#[test]
fn losses_and_notes_stand_below() {
    let mut change = busy();
    change.lost.insert("ring_full".to_owned(), 3);
    let mut frame = frame(&change);
    frame.notes.push("x ".repeat(100));
    let text = render(&frame, "own", &PLAIN);
    assert!(text.contains("\nlost: ring_full 3 (raise --ring-bytes)\n"), "{text}");
    assert!(text.lines().all(|line| width(line) <= 100), "{text}");
}

#[test]
fn nothing_is_wider_or_longer_than_a_screen() {
    let mut change = busy();
    for pid in 0..50 {
        change.processes.push(named(4_000_000 + pid, "数数数数数数数数数", "/x", 1 << 60));
    }
    change.lost.insert("ring_full".to_owned(), 3);
    let mut frame = frame(&change);
    frame.notes.push("a note of several words\nand lines ".repeat(3));
    for (columns, lines) in [(80, 24), (40, 10), (200, 50), (10, 8), (1, 1), (132, 5)] {
        for by in [By::Path, By::Process, By::Service] {
            for verbose in [false, true] {
                let style = Style {
                    by,
                    width: columns,
                    height: Some(lines),
                    limit: usize::MAX,
                    verbose,
                    color: false,
                    ..PLAIN
                };
                let text = render(&frame, "daemon  s:bytes b space q", &style);
                assert!(text.lines().all(|line| width(line) <= columns), "{columns}: {text}");
                if lines >= 24 {
                    assert!(text.lines().count() <= lines, "{lines}: {text}");
                    assert!(text.contains("total"), "{text}");
                    assert_eq!(text.contains("... "), by != By::Service, "{text}");
                }
            }
        }
    }
}

#[test]
fn colours_take_no_room() {
    let frame = frame(&busy());
    let style = Style { height: Some(24), ..PLAIN };
    let plain = render(&frame, "own", &style);
    let painted = render(&frame, "own", &Style { color: true, ..style });
    assert!(painted.contains("\x1b["));
    let mut bare = String::new();
    let mut parts = painted.split('\x1b');
    bare.push_str(parts.next().unwrap_or_default());
    for part in parts {
        bare.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    assert_eq!(bare, plain);
}

#[test]
fn rates_are_short_and_never_nothing_when_there_is_something() {
    for (rate, text) in [(0.0, "0"), (0.4, "<1B"), (1.9, "1B"), (2048.0, "2KiB"), (f64::MAX, "15.9EiB")] {
        assert_eq!(bytes_rate(rate, false), text);
    }
    assert_eq!(bytes_rate(2048.0, true), "2048");
    for (rate, text) in
        [(0.0, "0"), (0.01, "<0.1"), (0.5, "0.5"), (9.94, "9.9"), (9.96, "10"), (12_345.0, "12.3k")]
    {
        assert_eq!(count_rate(rate, false), text);
    }
    assert_eq!(count_rate(12_345.0, true), "12345");
}
