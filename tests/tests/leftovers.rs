//! What zc leaves in the kernel: nothing, however it ends. And two at once, each with its own.

use std::collections::BTreeSet;

use serde_json::Value;
use zc_tests::{
    compare::assert_exact,
    fixture,
    job::Job,
    zc::{Traced, Zc},
};

/// Programs, maps and links that are loaded now. bpftool loads a helper of its own to look, which may still
/// be on its way out when it lists.
fn loaded() -> BTreeSet<(&'static str, u64, String)> {
    let mut all = BTreeSet::new();
    for object in ["prog", "map", "link"] {
        let done = Job::new(&["bpftool", object, "list", "-j"]).finish();
        assert!(done.status.success(), "bpftool: {}", done.stderr);
        let list: Value = serde_json::from_slice(&done.stdout).expect("bpftool's list");
        for entry in list.as_array().expect("a list") {
            let name = entry["name"].as_str().unwrap_or_default();
            // Service managers load and drop programs of control groups at any time.
            let others = entry["type"].as_str().is_some_and(|kind| kind.starts_with("cgroup"));
            if !others && !name.starts_with("pid_iter") {
                all.insert((object, entry["id"].as_u64().expect("an id"), name.to_owned()));
            }
        }
    }
    all
}

/// The kernel frees what nobody refers to a little after the last reference has gone.
fn assert_nothing_new(before: &BTreeSet<(&'static str, u64, String)>) {
    let mut left = BTreeSet::new();
    for _ in 0..300 {
        left = loaded().difference(before).cloned().collect();
        if left.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("left behind: {left:?}");
}

/// The list itself must see zc, or finding nothing would mean nothing.
#[test]
fn programs_are_loaded_while_zc_runs_and_gone_afterwards() {
    let Some(zc) = Zc::with(&["bpftool"]) else { return };
    let before = loaded();
    let path = zc.report_path("report.json");
    let mut running = zc.run_job(&path, &[], &["sh", "-c", "echo up; read line"]).with_input().start();
    running.wait_for_output("up");
    let during: BTreeSet<_> = loaded().difference(&before).map(|(object, ..)| *object).collect();
    running.input(b"\n");
    running.finish();
    assert!(during.contains("prog") && during.contains("map"), "while zc ran there were {during:?}");
    assert_nothing_new(&before);
}

#[test]
fn fifty_runs_leave_no_program_map_or_link_behind() {
    let Some(zc) = Zc::with(&["bpftool"]) else { return };
    let before = loaded();
    for round in 0..50 {
        let path = zc.report_path("report.json");
        if round % 5 == 4 {
            let mut running = zc.run_job(&path, &[], &["sh", "-c", "echo up; exec sleep 1000"]).start();
            running.wait_for_output("up");
            running.signal(libc::SIGKILL);
            let done = running.finish();
            assert_eq!(done.status.code(), None, "zc was killed: {}", done.stderr);
        } else {
            let done = zc.run_job(&path, &[], &["true"]).finish();
            assert_eq!(done.code(), 0, "{}", done.stderr);
        }
    }
    assert_nothing_new(&before);
}

#[test]
fn two_zc_at_once_do_not_disturb_each_other() {
    let Some(zc) = Zc::with(&[]) else { return };
    let fixtures = [fixture!("pairs-quarters"), fixture!("threads")];
    let paths = [zc.report_path("first.json"), zc.report_path("second.json")];
    // Each command waits for a line, so that both are traced before either begins.
    let mut running = [0, 1].map(|i| {
        let mut words =
            vec!["sh".to_owned(), "-c".into(), "echo up; read line; exec \"$@\"".into(), "sh".into()];
        words.extend(fixtures[i].command());
        zc.run_job(&paths[i], &[], &words).with_input().start()
    });
    for job in &mut running {
        job.wait_for_output("up");
    }
    for job in &mut running {
        job.input(b"\n");
    }
    let [first, second] = running.map(zc_tests::job::Running::finish);
    let first = Traced::collect(&paths[0], first);
    let second = Traced::collect(&paths[1], second);
    assert_exact("first-of-two", &first, &fixtures[0].expectation());
    assert_exact("second-of-two", &second, &fixtures[1].expectation());
    let strangers = |report: &Traced, work: &zc_tests::Work| {
        let own = work.expectation().all().iter().map(|process| process.pid).collect::<Vec<_>>();
        report.report.pids().into_iter().filter(|pid| own.contains(pid)).count()
    };
    assert_eq!(
        strangers(&first, &fixtures[1]) + strangers(&second, &fixtures[0]),
        0,
        "processes in the wrong report"
    );
}

#[test]
fn zc_may_trace_zc() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("reads");
    let inner = zc.report_path("inner.json");
    let mut words: Vec<String> =
        [zc.bin(), "run".as_ref(), "--format".as_ref(), "json".as_ref(), "-o".as_ref()]
            .iter()
            .map(|word| word.to_str().expect("UTF-8").to_owned())
            .collect();
    words.extend([inner.to_str().expect("UTF-8").to_owned(), "--".into()]);
    words.extend(work.command());
    let outer = zc.run_json(&[], &words);
    assert!(outer.done.status.success(), "{}", outer.done.stderr);
    let expected = work.expectation();
    let json = std::fs::read(&inner).expect("the inner report");
    let inner = zc_tests::report::Report::parse(&json);
    for report in [&inner, &outer.report] {
        let differences = zc_tests::compare::differences(report, &expected);
        assert_eq!(differences, Vec::<String>::new());
    }
}

#[test]
fn the_machine_is_as_it_was_when_a_test_has_failed() {
    let Some(zc) = Zc::with(&["bpftool"]) else { return };
    let before = loaded();
    let path = zc.report_path("report.json");
    let mut running = zc.run_job(&path, &[], &["sh", "-c", "echo up; exec sleep 1000"]).start();
    running.wait_for_output("up");
    drop(running);
    assert_nothing_new(&before);
}
