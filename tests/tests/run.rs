//! `zc run` as a program among others: exit codes, signals, standard streams, formats.

use std::{fs, os::unix::fs::PermissionsExt as _};

use zc_tests::{csv, expect::Kind, fixture, job::Done, machine, report::Report, zc::Zc};

/// A message for people: says something, and is no backtrace.
fn is_a_sentence(text: &str) {
    assert!(text.trim().contains(' '), "says nothing: {text:?}");
    for noise in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!text.contains(noise), "{noise} in {text}");
    }
}

fn run(zc: &Zc, words: &[&str]) -> Done {
    let all: Vec<&str> = [&["run", "-o", "/dev/null", "--"], words].concat();
    zc.job(&all).finish()
}

#[test]
fn the_exit_code_is_the_commands() {
    let Some(zc) = Zc::with(&[]) else { return };
    for code in [0, 1, 7, 125, 255] {
        assert_eq!(run(&zc, &["sh", "-c", &format!("exit {code}")]).code(), code);
    }
    let traced = zc.run_json(&[], &["sh", "-c", "exit 7"]);
    assert_eq!((traced.done.code(), traced.report.named("sh").exit_code), (7, Some(7)));
}

#[test]
fn a_signal_that_ends_the_command_is_told_as_128_and_more() {
    let Some(zc) = Zc::with(&[]) else { return };
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1] {
        assert_eq!(run(&zc, &["sh", "-c", &format!("kill -{signal} $$")]).code(), 128 + signal);
    }
}

#[test]
fn what_cannot_be_run_is_126_and_what_is_not_there_is_127() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let file = machine::random_file(dir.path(), "no-program", 101);
    let directory = dir.path().to_str().expect("UTF-8");
    for (command, code) in
        [(file.as_str(), 126), (directory, 126), ("/no/such/program", 127), ("no-such-program-anywhere", 127)]
    {
        let done = run(&zc, &[command]);
        assert_eq!(done.code(), code, "{command}: {}", done.stderr);
        assert!(done.stderr.contains(command), "does not name {command}: {}", done.stderr);
        is_a_sentence(&done.stderr);
    }
}

#[test]
fn wrong_usage_is_2() {
    let Some(zc) = Zc::with(&[]) else { return };
    for words in [&["run"][..], &["run", "--no-such-option", "--", "true"], &["no-such-command"]] {
        let done = zc.job(words).finish();
        assert_eq!(done.code(), 2, "{words:?}: {}", done.stderr);
        is_a_sentence(&done.stderr);
    }
}

#[test]
fn the_commands_arguments_are_its_own() {
    let Some(zc) = Zc::with(&[]) else { return };
    let done = run(&zc, &["sh", "-c", "printf '%s|' \"$@\"", "sh", "--limit", "-o", "", "two words", "--"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "--limit|-o||two words|--|");
}

#[test]
fn a_termination_of_zc_reaches_the_command() {
    let Some(zc) = Zc::with(&[]) else { return };
    let path = zc.report_path("report.json");
    let script = "trap 'echo caught; exit 9' TERM; echo up; while :; do sleep 0.05; done";
    let mut running = zc.run_job(&path, &[], &["sh", "-c", script]).start();
    running.wait_for_output("up");
    running.signal(libc::SIGTERM);
    let done = running.finish();
    assert_eq!((done.code(), String::from_utf8_lossy(&done.stdout).contains("caught")), (9, true));
    Report::parse(&fs::read(path).expect("the report"));
}

#[test]
fn a_command_that_a_passed_signal_ends_is_reported() {
    let Some(zc) = Zc::with(&[]) else { return };
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let mut serving = zc.start(&["sh", "-c", "echo up; exec sleep 1000"]);
        serving.running.wait_for_output("up");
        serving.running.signal(signal);
        let traced = serving.collect();
        assert_eq!(traced.done.code(), 128 + signal);
        assert!(!traced.report.processes.is_empty());
    }
}

/// What Ctrl-C does: the terminal sends the signal to the whole foreground group.
#[test]
fn an_interrupt_ends_the_command_and_still_prints_the_report() {
    let Some(zc) = Zc::with(&[]) else { return };
    let mut serving = zc.start(&["sh", "-c", "echo up; exec sleep 1000"]);
    serving.running.wait_for_output("up");
    serving.running.signal_group(libc::SIGINT);
    let traced = serving.collect();
    assert_eq!(traced.done.code(), 128 + libc::SIGINT);
    assert!(traced.report.named("sleep").syscalls.is_some_and(|calls| calls > 0));
}

#[test]
fn an_interrupt_that_the_command_survives_does_not_end_zc() {
    let Some(zc) = Zc::with(&[]) else { return };
    let path = zc.report_path("report.json");
    let command = ["sh", "-c", "trap 'echo caught' INT; echo up; read line || read line; echo over; exit 5"];
    let mut running = zc.run_job(&path, &[], &command).with_input().start();
    running.wait_for_output("up");
    running.signal_group(libc::SIGINT);
    running.wait_for_output("caught");
    running.input(b"\n");
    let done = running.finish();
    assert_eq!((done.code(), String::from_utf8_lossy(&done.stdout).contains("over")), (5, true));
    Report::parse(&fs::read(path).expect("the report"));
}

#[test]
fn standard_input_and_output_belong_to_the_command() {
    let Some(zc) = Zc::with(&[]) else { return };
    let bytes = zc_tests::fixtures::content(1_000_003);
    let done = zc.job(&["run", "--", "cat"]).finish_with(&bytes);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stdout == bytes, "cat gave {} bytes of {}", done.stdout.len(), bytes.len());
    assert!(done.stderr.contains("cat"), "the report goes to standard error: {}", done.stderr);
}

#[test]
fn a_report_can_go_to_a_file_and_to_standard_output() {
    let Some(zc) = Zc::with(&[]) else { return };
    let traced = zc.run_json(&[], &["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((traced.done.stdout.as_slice(), traced.done.stderr.as_str()), (&b"out\n"[..], "err\n"));
    let done = zc.job(&["run", "--format", "json", "-o", "-", "--", "true"]).finish();
    assert_eq!(Report::parse(&done.stdout).named("true").exit_code, Some(0));
}

#[test]
fn a_report_that_cannot_be_written_stops_zc_before_the_command() {
    let Some(zc) = Zc::with(&[]) else { return };
    let dir = machine::temp_dir();
    let marker = dir.path().join("ran");
    let nowhere = dir.path().join("no/such/directory/report");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let marker_text = marker.to_str().expect("UTF-8");
    let done = zc.job(&["run", "-o", nowhere, "--", "touch", marker_text]).finish();
    assert_eq!(done.code(), 125, "{}", done.stderr);
    assert!(done.stderr.contains(nowhere) && !marker.exists(), "{}", done.stderr);
    is_a_sentence(&done.stderr);
}

#[test]
fn a_table_fits_a_hundred_columns_and_has_a_line_of_totals() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("kinds");
    let command = work.command();
    let words: Vec<&str> = ["run", "--"].into_iter().chain(command.iter().map(String::as_str)).collect();
    let done = zc.job(&words).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    for line in done.stderr.lines() {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        assert!(!line.contains('\u{1b}'), "colour without a terminal: {line}");
    }
    for word in ["read", "write", "zc-fixture", "tcp", "total"] {
        assert!(done.stderr.contains(word), "no {word} in {}", done.stderr);
    }
}

#[test]
fn a_long_list_is_cut_and_says_by_how_much() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("children");
    let command = work.command();
    let table = |options: &[&str]| {
        let words: Vec<&str> = [&["run"], options, &["--"]]
            .concat()
            .into_iter()
            .chain(command.iter().map(String::as_str))
            .collect();
        let done = zc.job(&words).finish();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        done.stderr
    };
    let (short, long) = (table(&["--limit", "3"]), table(&["--limit", "1000"]));
    assert!(long.lines().count() > 307, "307 children in {} lines", long.lines().count());
    assert!(short.lines().count() < 60, "{} lines for a limit of 3", short.lines().count());
    assert!(short.contains("more") && !long.contains(" more"), "does not say what was cut: {short}");
}

#[test]
fn csv_has_a_header_and_the_same_numbers() {
    let Some(zc) = Zc::with(&[]) else { return };
    let work = fixture!("reads");
    let command = work.command();
    let path = zc.report_path("report.csv");
    let words: Vec<&str> = ["run", "--format", "csv", "-o", path.to_str().expect("UTF-8"), "--"]
        .into_iter()
        .chain(command.iter().map(String::as_str))
        .collect();
    assert_eq!(zc.job(&words).finish().code(), 0);
    let records = csv::parse(&fs::read_to_string(path).expect("the report"));
    let pid = work.expectation().pid.to_string();
    let wanted = |record: &&std::collections::BTreeMap<String, String>| {
        record["pid"] == pid && record["path"] == "read" && record["source"] == "file"
    };
    let found: Vec<_> = records.iter().filter(wanted).collect();
    let expectation = work.expectation();
    let row = expectation.row("read", Kind::File, Kind::Memory).expect("the row of reads");
    assert_eq!(found.len(), 1, "{records:?}");
    assert_eq!(
        (&found[0]["bytes"], &found[0]["syscalls"]),
        (&row.bytes.to_string(), &row.syscalls.to_string())
    );
}

#[test]
fn a_report_describes_its_run() {
    let Some(zc) = Zc::with(&[]) else { return };
    let report = zc.trace(&["sleep", "0.2"]);
    let Report { host, window, hooks, tool, .. } = &report;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    assert_eq!((host.kernel.as_str(), host.arch.as_str()), (kernel.trim(), std::env::consts::ARCH));
    assert!(host.cpus > 0 && !tool.version.is_empty());
    assert!((0.2..600.0).contains(&window.seconds), "{} seconds", window.seconds);
    assert!(window.start.contains('T'), "not RFC 3339: {}", window.start);
    for hook in hooks {
        assert!(["attached", "unavailable", "disabled"].contains(&hook.status.as_str()), "{}", hook.status);
        assert!(hook.status != "unavailable" || hook.reason.is_some(), "{} has no reason", hook.name);
    }
    assert!(hooks.iter().any(|hook| hook.status == "attached"), "no hook is attached");
    let sleep = report.named("sleep");
    assert!(sleep.exe.as_deref().is_some_and(|exe| exe.ends_with("sleep")), "{:?}", sleep.exe);
    assert_eq!(sleep.cmdline.as_deref(), Some(&["sleep".to_owned(), "0.2".into()][..]));
    assert!(sleep.context_switches.voluntary.is_some_and(|switches| switches >= 1), "sleeping is a switch");
}

#[test]
fn check_says_what_this_machine_lets_us_see() {
    let Some(zc) = Zc::with(&[]) else { return };
    let done = zc.job(&["check"]).finish();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let text = String::from_utf8_lossy(&done.stdout);
    for word in ["BTF", "tracefs", "sys_exit"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn check_says_what_the_kernel_makes_of_the_programs_of_a_session() {
    let Some(zc) = Zc::with(&[]) else { return };
    let checked = zc.job(&["check", "--format", "json"]).finish();
    let answer: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let hooks = answer["hooks"].as_array().expect("hooks");
    let of = |hook: &serde_json::Value| hook["verified_instructions"].as_u64();
    // That of `--no-count-calls`, and that of `zc verify -p`: this session has no use for them.
    let is_used =
        |hook: &&serde_json::Value| hook["program"] != "zc_exit_data" && hook["program"] != "zc_attach";
    let mut expected: Vec<u64> = hooks.iter().filter(is_used).filter_map(of).collect();

    let report = zc.report_path("sizes");
    let mut session = zc.run_job(&report, &[], &["sh", "-c", "echo here; sleep 0.5"]).start();
    session.wait_for_output("here");
    let files = fs::read_dir(format!("/proc/{}/fdinfo", session.pid())).expect("descriptors of zc");
    let number = |info: String| {
        let line = info.lines().find_map(|line| line.strip_prefix("verified_insns:"))?;
        line.trim().parse::<u64>().ok()
    };
    let mut witnessed: Vec<u64> =
        files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok()).filter_map(number).collect();
    assert_eq!(session.finish().code(), 0);
    expected.sort_unstable();
    witnessed.sort_unstable();
    assert_eq!(expected, witnessed, "{answer:#}");
    for hook in hooks.iter().filter(|hook| hook["status"] == "attached") {
        assert!(hook["machine_code_bytes"].as_u64() > Some(0), "{hook:#}");
    }
}

/// A copy of zc that any user may execute, wherever the project lies.
fn for_nobody(zc: &Zc) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("opening the directory");
    let copy = dir.path().join("zc");
    fs::copy(zc.bin(), &copy).expect("copying zc");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("opening the copy");
    let copy = copy.to_str().expect("UTF-8").to_owned();
    (dir, copy)
}

#[test]
fn without_privileges_zc_says_so() {
    let Some(zc) = Zc::with(&["setpriv"]) else { return };
    let (dir, copy) = for_nobody(&zc);
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", &copy];
    for (words, code) in [(&["check"][..], 4), (&["run", "--", "true"], 125)] {
        let done = zc_tests::job::Job::new(&[&nobody, words].concat()).dir(dir.path()).finish();
        assert_eq!(done.code(), code, "{words:?}: {}", done.stderr);
        is_a_sentence(&format!("{}{}", String::from_utf8_lossy(&done.stdout), done.stderr));
        assert!(done.stderr.contains("root") || done.stderr.contains("CAP_"), "what to do: {}", done.stderr);
    }
}

#[test]
fn a_zc_without_its_programs_says_so() {
    let Ok(stub) = std::env::var("ZC_STUB_BIN") else {
        eprintln!("skipped: ZC_STUB_BIN names no zc that was built without its eBPF object");
        return;
    };
    let done = zc_tests::job::Job::new(&[stub.as_str(), "run", "--", "true"]).finish();
    assert_eq!(done.code(), 125, "{}", done.stderr);
    assert!(done.stderr.contains("eBPF") && done.stderr.contains("xtask"), "{}", done.stderr);
    is_a_sentence(&done.stderr);
}
