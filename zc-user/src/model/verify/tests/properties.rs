//! The rule, by property.

use proptest::prelude::*;

use super::*;

fn any_figures() -> impl Strategy<Value = Figures> {
    let amount = || prop_oneof![Just(None), Just(Some(0_u64)), (1_u64..300).prop_map(Some)];
    let evidence = prop::sample::select(vec![Evidence::Witnessed, Evidence::Reported, Evidence::Inferred]);
    (0_u64..200, amount(), amount(), prop_oneof![3 => Just(0_u64), 1 => 1_u64..200], evidence).prop_map(
        |(bytes, copied, by_reference, unknown, evidence)| Figures {
            evidence,
            ..figures(bytes, copied, by_reference, unknown)
        },
    )
}

fn any_report() -> impl Strategy<Value = Report> {
    let path = prop::sample::select(Path::ALL.to_vec());
    let row_of = (path, any_figures(), any::<bool>(), 0_u64..20);
    let loss = prop_oneof![4 => Just(0_u64), 1 => Just(1_u64)];
    (prop::collection::vec(row_of, 0..6), loss).prop_map(|(parts, loss)| {
        let mut report = report(Vec::new(), Vec::new());
        for (index, (path, figures, named, hidden)) in parts.into_iter().enumerate() {
            // A process has one row of a path between the same kinds of ends.
            if report.processes[0].paths.iter().any(|row| row.path == path) {
                continue;
            }
            if named {
                let mut of_flow = figures.clone();
                of_flow.bytes = of_flow.bytes.saturating_sub(hidden);
                report.flows.push(flow(path, "/srv/a", 80 + u16::from(index % 2 == 1), of_flow));
            }
            report.processes[0].paths.push(row(path, figures));
        }
        report.lost.insert("rows_full".to_owned(), loss);
        report
    })
}

fn any_selection() -> impl Strategy<Value = Selection> {
    let paths = prop_oneof![Just(Vec::new()), prop::sample::subsequence(Path::ALL.to_vec(), 1..6)];
    let files = prop_oneof![Just(Vec::new()), Just(vec!["/srv".to_owned()]), Just(vec!["/no".to_owned()])];
    let ports = prop_oneof![Just(Vec::new()), Just(vec![80]), Just(vec![443])];
    (paths, files, ports, prop_oneof![Just(0_u64), 1_u64..50]).prop_map(|(paths, files, ports, min_bytes)| {
        Selection { paths, ports, files, min_bytes, ..Selection::default() }
    })
}

fn any_bound() -> impl Strategy<Value = Bound> {
    prop_oneof![
        Just(Bound::Bytes(0)),
        (0_u64..500).prop_map(Bound::Bytes),
        (0_u64..250_000).prop_map(Bound::Share)
    ]
}

/// The numbers of what is selected for sure, worked out in another way.
fn selected(report: &Report, selection: &Selection) -> Vec<(Path, Figures)> {
    let is_wanted = |path: &Path, figures: &Figures| {
        (selection.paths.is_empty() || selection.paths.contains(path))
            && figures.bytes > 0
            && figures.bytes >= selection.min_bytes
    };
    if selection.files.is_empty() && selection.ports.is_empty() {
        let rows = report.processes.iter().flat_map(|process| &process.paths);
        return rows
            .filter(|row| is_wanted(&row.path, &row.figures))
            .map(|row| (row.path, row.figures.clone()))
            .collect();
    }
    // Flows have the own port 80.
    let named = report.flows.iter().filter(|flow| {
        (selection.files.is_empty() || selection.files[0] == "/srv")
            && (selection.ports.is_empty() || selection.ports[0] == 80)
            && is_wanted(&flow.path, &flow.figures)
    });
    named.map(|flow| (flow.path, flow.figures.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_holds_above_the_bound_or_with_anything_unknown_lost_or_unselected(
        report in any_report(), selection in any_selection(), bound in any_bound()
    ) {
        let answer = verify(&report, &selection, Expectation::ZeroCopy(bound));
        let selected = selected(&report, &selection);
        let sum = |number: fn(&Figures) -> u64| selected.iter().map(|(_, figures)| number(figures)).sum::<u64>();
        let copied = sum(|figures| figures.cpu_copied_bytes.unwrap_or(0));
        let bytes = sum(|figures| figures.bytes);
        let above = match bound {
            Bound::Bytes(bound) => copied > bound,
            Bound::Share(thousandths) => u128::from(copied) * 100_000 > u128::from(bytes) * u128::from(thousandths),
        };
        if answer.outcome == Outcome::Holds {
            prop_assert!(!above, "{copied} of {bytes} copied, at most {bound}");
            prop_assert!(!selected.is_empty());
            prop_assert!(report.lost.values().all(|count| *count == 0));
            prop_assert_eq!(sum(|figures| figures.unknown_bytes), 0);
            for (path, figures) in &selected {
                let known = figures.cpu_copied_bytes.unwrap_or(0) + figures.by_reference_bytes.unwrap_or(0);
                prop_assert!(known >= figures.bytes, "{:?}", figures);
                // Rows that flows are all of have the flows' evidence; flows have their own.
                let only_said = figures.evidence == Evidence::Reported && figures.by_reference_bytes > Some(0);
                let is_doubtful = *path == Path::SendZerocopy && only_said;
                prop_assert!(!(is_doubtful && selection.needs_names()));
            }
            prop_assert!(answer.undecided.is_empty() && answer.rows.is_empty() && answer.flows.is_empty());
        }
        if answer.outcome == Outcome::DoesNotHold {
            prop_assert!(above);
            prop_assert!(!answer.rows.is_empty() || !answer.flows.is_empty());
        }
        if answer.outcome == Outcome::CannotBeDecided {
            prop_assert!(!answer.undecided.is_empty());
        }
    }

    #[test]
    fn copied_holds_only_when_every_byte_was(report in any_report(), selection in any_selection()) {
        let answer = verify(&report, &selection, Expectation::Copied);
        if answer.outcome == Outcome::Holds {
            let selected = selected(&report, &selection);
            prop_assert!(!selected.is_empty());
            for (_, figures) in selected {
                prop_assert!(figures.cpu_copied_bytes >= Some(figures.bytes) && figures.unknown_bytes == 0);
            }
            prop_assert!(report.lost.values().all(|count| *count == 0));
        }
    }

    #[test]
    fn a_larger_bound_never_turns_holding_into_not_holding(
        report in any_report(), selection in any_selection(), bound in 0_u64..400, more in 0_u64..400
    ) {
        let with = |bound| verify(&report, &selection, Expectation::ZeroCopy(Bound::Bytes(bound))).outcome;
        if with(bound) == Outcome::Holds {
            prop_assert_eq!(with(bound + more), Outcome::Holds);
        }
    }
}
