use std::collections::HashMap;

use proptest::prelude::*;
use zc_common::path::{Kind, Path};

use super::{exposed, interval};
use crate::{
    metrics::{Caps, Exposition, Form, Kind as FamilyKind, ServiceBy, Totals, Value},
    model::{
        interval::{Interval, ProcessChange, RowChange, RowName, TotalsChange, Who},
        reason::Reason,
        report::{Evidence, Via},
    },
};

const VIAS: [Via; 3] = [Via::Syscall, Via::IoUring, Via::Aio];
const KINDS: [Kind; 3] = [Kind::File, Kind::Tcp, Kind::Memory];
const EVIDENCE: [Evidence; 3] = [Evidence::Witnessed, Evidence::Reported, Evidence::Inferred];

/// Of every size, the greatest included.
fn change() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -1000..1000_i64, 1 => any::<i64>()]
}

prop_compose! {
    fn row()(
        name in (0..Path::ALL.len(), 0..3_usize, 0..3_usize, 0..3_usize),
        numbers in (change(), change(), change(), change()),
        known in (prop::option::of(change()), prop::option::of(change())),
        evidence in 0..3_usize,
        reason in prop::option::of(0..Reason::ALL.len()),
    ) -> RowChange {
        let (path, via, source, destination) = name;
        RowChange {
            name: RowName {
                path: Path::ALL[path],
                via: VIAS[via],
                source: KINDS[source],
                destination: KINDS[destination],
            },
            transfers: numbers.0,
            syscalls: numbers.1,
            bytes: numbers.2,
            cpu_copied_bytes: known.0,
            by_reference_bytes: known.1,
            unknown_bytes: numbers.3,
            evidence: EVIDENCE[evidence],
            reason: reason.map(|index| Reason::ALL[index]),
            ..super::row(Path::Read, 0, None, None, 0)
        }
    }
}

prop_compose! {
    fn process()(
        comm in prop::option::of(any::<String>()),
        rows in prop::collection::vec(row(), 0..4),
        numbers in prop::collection::vec(prop::option::of(change()), 7),
    ) -> ProcessChange {
        let totals = TotalsChange {
            syscalls: numbers[0],
            exception_mode_switches: numbers[1],
            voluntary: numbers[2],
            involuntary: numbers[3],
            minor_faults: numbers[4],
            major_faults: numbers[5],
            device_read_bytes: numbers[6],
        };
        ProcessChange { who: Who { comm, ..Who::default() }, exit_code: None, totals, rows }
    }
}

fn intervals() -> impl Strategy<Value = Vec<Interval>> {
    let lost = prop::collection::btree_map(any::<String>(), any::<u64>(), 0..3);
    let one = (prop::collection::vec(process(), 0..5), lost);
    let one = one.prop_map(|(processes, lost)| Interval { lost, ..interval(processes) });
    prop::collection::vec(one, 1..12)
}

fn counters(out: &Exposition) -> HashMap<(&'static str, String), u64> {
    let counters = out.families().filter(|(family, _)| family.kind == FamilyKind::Counter);
    let each = counters.flat_map(|(family, samples)| samples.iter().map(move |sample| (family.name, sample)));
    each.map(|(name, sample)| {
        let Value::Integer(count) = sample.value else { panic!("{name} is no count") };
        ((name, sample.labels.join("\0")), count)
    })
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_never_go_back_or_away(intervals in intervals()) {
        let mut totals = Totals::new(Caps { service_by: Some(ServiceBy::Comm), services_max: 3 });
        let mut before = HashMap::new();
        for interval in &intervals {
            totals.add(interval);
            let now = counters(&exposed(&totals));
            for (name, count) in &before {
                prop_assert!(now.get(name) >= Some(count), "{:?}: {} and then {:?}", name, count, now.get(name));
            }
            before = now;
        }
    }

    #[test]
    fn a_counter_is_the_most_that_its_sum_was(intervals in intervals()) {
        let mut totals = Totals::new(Caps::default());
        let (mut sum, mut unknown, mut most) = (0_i128, 0_i128, 0_i128);
        for interval in &intervals {
            totals.add(interval);
            for row in interval.processes.iter().flat_map(|process| &process.rows) {
                sum += i128::from(row.bytes);
                unknown += i128::from(row.unknown_bytes);
            }
            most = most.max(sum);
        }
        let shown = |value: i128| Some(u64::try_from(value.max(0)).unwrap_or(u64::MAX));
        let out = exposed(&totals);
        prop_assert_eq!(super::count(&out, "zc_payload_bytes_total", &[]), shown(most));
        prop_assert_eq!(super::count(&out, "zc_unknown_bytes", &[]), shown(unknown));
    }

    /// Numbers as intervals of a real session have them: those of one look after the other.
    #[test]
    fn a_counter_is_ahead_of_the_last_look_by_no_more_than_was_taken_back(looks in prop::collection::vec(0..1_000_000_i64, 1..20)) {
        let mut totals = Totals::new(Caps::default());
        let (mut before, mut taken_back) = (0, 0);
        for look in looks {
            let row = super::row(Path::Read, look - before, None, None, 0);
            totals.add(&interval(vec![super::process("a", vec![row])]));
            taken_back += (before - look).max(0);
            before = look;
            let shown = super::count(&exposed(&totals), "zc_payload_bytes_total", &[]).unwrap_or(0).cast_signed();
            prop_assert!((look..=look + taken_back).contains(&shown), "{} of {}", shown, look);
        }
    }

    #[test]
    fn the_number_of_services_has_a_bound(names in prop::collection::vec(any::<String>(), 0..60), services_max in 0..5_usize) {
        let mut totals = Totals::new(Caps { service_by: Some(ServiceBy::Comm), services_max });
        for name in &names {
            totals.add(&interval(vec![super::process(name, vec![super::row(Path::Read, 1, None, None, 1)])]));
        }
        let out = exposed(&totals);
        let services = out.families().find(|(family, _)| family.name == "zc_service_payload_bytes_total");
        let services = services.map_or(&[][..], |(_, samples)| samples);
        prop_assert!(services.len() <= services_max + 2);
        prop_assert!(services.iter().all(|sample| sample.labels[0].len() <= 128));
        let sum: u64 = services.iter().map(|sample| match sample.value {
            Value::Integer(count) => count,
            Value::Float(_) => 0,
        }).sum();
        prop_assert_eq!(sum, names.len() as u64, "every byte is in one of them");
    }

    /// Whatever names the world has chosen: a sample is a line.
    #[test]
    fn every_sample_is_a_line(intervals in intervals()) {
        let mut totals = Totals::new(Caps { service_by: Some(ServiceBy::Comm), services_max: 3 });
        for interval in &intervals {
            totals.add(interval);
        }
        let out = exposed(&totals);
        let samples: usize = out.families().map(|(_, samples)| samples.len()).sum();
        for form in Form::ALL {
            let text = out.to_text(form);
            prop_assert!(text.ends_with('\n'));
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
            prop_assert_eq!(lines.len(), samples);
            for line in lines {
                let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
                prop_assert!(line.starts_with("zc_") && value.is_some(), "{}", line);
            }
        }
    }
}
