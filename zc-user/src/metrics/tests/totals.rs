use std::collections::BTreeMap;

use zc_common::path::{Kind, Path};

use super::{copied, count, exposed, interval, process, row, state};
use crate::{
    metrics::{Caps, Form, REASONS, State, Totals, UNSTATED, Value, families},
    model::{
        account::account,
        fixture,
        interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange},
        reason::Reason,
        report::{Evidence, Hook, HookStatus, SelfCost, Tool},
    },
};

fn totals() -> Totals {
    Totals::new(Caps::default())
}

#[test]
fn rows_are_added_up_over_processes_and_intervals() {
    let mut totals = totals();
    let witnessed =
        RowChange { evidence: Evidence::Witnessed, ..row(Path::Sendfile, 100, Some(0), Some(90), 10) };
    totals.add(&interval(vec![process("a", vec![witnessed]), process("b", vec![witnessed])]));
    totals.add(&interval(vec![process("a", vec![witnessed, row(Path::Write, 7, Some(7), Some(0), 0)])]));
    let out = exposed(&totals);
    let sendfile = ["sendfile", "syscall", "file", "tcp"];
    let of = |name: &str, labels: &[&str]| count(&out, name, labels);
    assert_eq!(of("zc_transfer_bytes_total", &sendfile), Some(300));
    assert_eq!(of("zc_transfers_total", &sendfile), Some(3));
    assert_eq!(of("zc_transfer_syscalls_total", &sendfile), Some(3));
    assert_eq!(of("zc_transfer_copied_bytes_total", &sendfile), Some(0));
    assert_eq!(of("zc_transfer_by_reference_bytes_total", &sendfile), Some(270));
    assert_eq!(of("zc_transfer_unknown_bytes", &sendfile), Some(30));
    assert_eq!(of("zc_payload_bytes_total", &[]), Some(307));
    assert_eq!(of("zc_copied_bytes_total", &[]), Some(7));
    assert_eq!(of("zc_by_reference_bytes_total", &[]), Some(270));
    assert_eq!(of("zc_unknown_bytes", &[]), Some(30));
    assert_eq!(of("zc_known_bytes_total", &["witnessed"]), Some(270));
    assert_eq!(of("zc_known_bytes_total", &["reported"]), Some(0));
    assert_eq!(of("zc_known_bytes_total", &["inferred"]), Some(7));
    assert_eq!(of("zc_looks_total", &[]), Some(2));
    assert_eq!(out.value("zc_start_timestamp_seconds", &[]), Some(Value::Float(1_772_366_400.0)));
    assert_eq!(out.value("zc_last_look_timestamp_seconds", &[]), Some(Value::Float(1_772_366_405.25)));
    assert_eq!(out.value("zc_look_interval_seconds", &[]), Some(Value::Float(5.25)));
}

/// 100 bytes were read; later it shows that they were written on, 60 of them and then 40 more, while others are read.
#[test]
fn bytes_that_leave_a_row_make_its_counter_wait_and_count_once_in_sums() {
    let mut totals = totals();
    let read = |bytes| row(Path::Read, bytes, Some(bytes), Some(0), 0);
    let pair = |bytes| row(Path::ReadWrite, bytes, Some(2 * bytes), Some(0), 0);
    let mut seen = Vec::new();
    for rows in [vec![read(100)], vec![pair(60), read(-60)], vec![pair(40), read(-30)], vec![read(95)]] {
        totals.add(&interval(vec![process("relay", rows)]));
        let out = exposed(&totals);
        let of = |path| count(&out, "zc_transfer_bytes_total", &[path, "syscall", "file", "tcp"]);
        let all = |name| count(&out, name, &[]).expect("a counter");
        seen.push((
            of("read"),
            of("read+write"),
            all("zc_payload_bytes_total"),
            all("zc_copied_bytes_total"),
        ));
    }
    let expected = [
        (Some(100), None, 100, 100),
        (Some(100), Some(60), 100, 160),
        (Some(100), Some(100), 110, 210),
        (Some(105), Some(100), 205, 305),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn what_becomes_known_later_leaves_the_gauge() {
    let mut totals = totals();
    totals.add(&interval(vec![process("a", vec![row(Path::SendZerocopy, 50, None, None, 50)])]));
    assert_eq!(count(&exposed(&totals), "zc_unknown_bytes", &[]), Some(50));
    let labels = ["send-zerocopy", "syscall", "file", "tcp"];
    assert_eq!(count(&exposed(&totals), "zc_transfer_copied_bytes_total", &labels), None, "nothing is known");
    totals.add(&interval(vec![process("a", vec![row(Path::SendZerocopy, 0, Some(20), Some(30), -50)])]));
    let out = exposed(&totals);
    assert_eq!(count(&out, "zc_unknown_bytes", &[]), Some(0));
    assert_eq!(count(&out, "zc_transfer_copied_bytes_total", &labels), Some(20));
    assert_eq!(count(&out, "zc_known_bytes_total", &["inferred"]), Some(50));
}

#[test]
fn a_fallback_is_a_copy_on_a_path_that_can_do_without() {
    let mut totals = totals();
    let from_memory = |row: RowChange| {
        let name = RowName { source: Kind::Memory, ..row.name };
        RowChange { name, ..row }
    };
    totals.add(&interval(vec![process(
        "a",
        vec![
            copied(Path::Sendfile, 1, Reason::NoScatterGather),
            copied(Path::Sendfile, 2, Reason::NotSeenLeaving),
            copied(Path::ReadWrite, 4, Reason::NoScatterGather),
            copied(Path::Write, 8, Reason::ZerocopyNotSet),
            copied(Path::SendZerocopy, 16, Reason::ZerocopyReported),
            copied(Path::SendZerocopy, 32, Reason::ZerocopyCopied),
            from_memory(copied(Path::SendZerocopy, 64, Reason::ZerocopyUnreported)),
            copied(Path::Mmap, 128, Reason::CopyOnWrite),
            row(Path::Splice, 256, Some(0), Some(256), 0),
        ],
    )]));
    let out = exposed(&totals);
    let samples = |name: &str| {
        let found = out.families().find(|(family, _)| family.name == name).expect("a family").1;
        found.iter().map(|sample| (sample.labels.join(" "), sample.value)).collect::<BTreeMap<_, _>>()
    };
    let values = |pairs: &[(&str, u64)]| {
        pairs
            .iter()
            .map(|(labels, value)| ((*labels).to_owned(), Value::Integer(*value)))
            .collect::<BTreeMap<_, _>>()
    };
    let fallbacks = [
        ("sendfile no_scatter_gather", 1),
        ("sendfile unstated", 2),
        ("write zerocopy_not_set", 8),
        ("send-zerocopy zerocopy_copied", 32),
        ("send-zerocopy unstated", 64),
    ];
    assert_eq!(samples("zc_fallback_copied_bytes_total"), values(&fallbacks));
    let reasons = [
        ("no_scatter_gather", 5),
        ("zerocopy_not_set", 8),
        ("zerocopy_copied", 32),
        (UNSTATED, 2 + 16 + 64),
        ("copy_on_write", 128),
    ];
    assert_eq!(samples("zc_reason_copied_bytes_total"), values(&reasons));
}

#[test]
fn a_reason_has_a_name_unless_it_is_why_something_is_not_known() {
    for reason in Reason::ALL {
        let is_known = REASONS.iter().any(|(known, _)| *known == reason);
        assert_eq!(is_known, !reason.text().starts_with("not witnessed"), "{reason}");
    }
    let mut names: Vec<_> = REASONS.iter().map(|(_, name)| *name).chain([UNSTATED]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), REASONS.len() + 1);
}

#[test]
fn what_nobody_counted_is_left_out_and_losses_are_there_from_the_beginning() {
    let mut totals = totals();
    assert_eq!(count(&exposed(&totals), "zc_events_lost_total", &["ring_full"]), Some(0));
    assert_eq!(count(&exposed(&totals), "zc_syscalls_total", &[]), None);
    let change = ProcessChange {
        exit_code: Some(0),
        totals: TotalsChange { syscalls: Some(21), voluntary: Some(0), ..TotalsChange::default() },
        ..ProcessChange::default()
    };
    let lost = BTreeMap::from([("ring_full".to_owned(), 3), ("of tomorrow".to_owned(), 4)]);
    totals.add(&Interval { lost, ..interval(vec![change]) });
    let out = exposed(&totals);
    assert_eq!(count(&out, "zc_syscalls_total", &[]), Some(21));
    assert_eq!(count(&out, "zc_mode_switches_total", &["syscall"]), Some(42));
    assert_eq!(count(&out, "zc_mode_switches_total", &["exception"]), None);
    assert_eq!(count(&out, "zc_context_switches_total", &["voluntary"]), Some(0));
    assert_eq!(count(&out, "zc_context_switches_total", &["involuntary"]), None);
    assert_eq!(count(&out, "zc_events_lost_total", &["ring_full"]), Some(3));
    assert_eq!(count(&out, "zc_events_lost_total", &["other"]), Some(4));
    assert_eq!(count(&out, "zc_processes_ended_total", &[]), Some(1));
}

#[test]
fn a_hook_that_was_not_asked_for_is_not_missing() {
    let hook = |name: &str, method: Option<&str>, status| Hook {
        name: name.to_owned(),
        method: method.map(Into::into),
        status,
        reason: None,
    };
    let hooks = vec![
        hook("sys_exit", Some("tp_btf"), HookStatus::Attached),
        hook("filemap_read", None, HookStatus::Unavailable),
        hook("task", None, HookStatus::Disabled),
    ];
    let self_cost =
        SelfCost { bpf_runs: Some(9), bpf_ns: Some(1_500), cpu_seconds: Some(0.25), rss_bytes: Some(4096) };
    let out = totals().expose(&State { hooks, self_cost, ..state() });
    assert_eq!(count(&out, "zc_hook_attached", &["sys_exit", "tp_btf"]), Some(1));
    assert_eq!(count(&out, "zc_hook_attached", &["filemap_read", "none"]), Some(0));
    assert_eq!(count(&out, "zc_hook_attached", &["task", "none"]), None);
    assert_eq!(count(&out, "zc_bpf_runs_total", &[]), Some(9));
    assert_eq!(out.value("zc_bpf_run_time_seconds_total", &[]), Some(Value::Float(1.5e-6)));
    assert_eq!(out.value("zc_self_cpu_seconds_total", &[]), Some(Value::Float(0.25)));
    assert_eq!(count(&out, "zc_self_resident_memory_bytes", &[]), Some(4096));
}

#[test]
fn the_state_is_that_of_the_last_look() {
    let report = account(&fixture::samples(), Tool { version: "1".to_owned(), commit: Some("c".to_owned()) });
    let state = State::of(&report);
    assert_eq!((state.processes, state.hooks.len()), (0, 0));
    assert_eq!(count(&totals().expose(&state), "zc_build_info", &["1", "c"]), Some(1));
}

#[test]
fn names_of_families_are_those_that_both_forms_ask_for() {
    let mut names = Vec::new();
    for family in families::ALL {
        let is_counter = family.name.ends_with("_total");
        assert_eq!(is_counter, family.kind == crate::metrics::Kind::Counter, "{}", family.name);
        assert!(family.unit.is_none_or(|unit| family.base_name().ends_with(&format!("_{unit}"))));
        assert!(family.name.starts_with("zc_") && family.help.ends_with('.'), "{}", family.name);
        names.push(family.base_name());
    }
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "two families have one name");
}

#[test]
fn families_are_written_once_and_in_the_order_of_their_list() {
    let mut totals = Totals::new(Caps { service_by: Some(crate::metrics::ServiceBy::Comm), services_max: 2 });
    let rows = || vec![copied(Path::Sendfile, 5, Reason::Flattened)];
    totals.add(&interval(vec![process("a", rows()), process("b", rows()), process("c", rows())]));
    let out = exposed(&totals);
    let written: Vec<_> = out.families().map(|(family, _)| family.name).collect();
    let mut listed: Vec<_> = families::ALL.iter().map(|family| family.name).collect();
    listed.retain(|name| written.contains(name));
    assert_eq!(written, listed);
    let text = out.to_text(Form::Text);
    assert!(
        text.contains("zc_service_fallback_copied_bytes_total{service=\"other\",reason=\"flattened\"} 5\n")
    );
}
