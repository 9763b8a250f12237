use zc_common::path::Path;

use super::{count, exposed, interval, process, row};
use crate::{
    metrics::{Caps, NONE, OTHER, ServiceBy, Totals},
    model::interval::{ProcessChange, Who},
};

fn totals(by: ServiceBy, services_max: usize) -> Totals {
    Totals::new(Caps { service_by: Some(by), services_max })
}

fn sent(bytes: i64) -> Vec<crate::model::interval::RowChange> {
    vec![row(Path::Sendfile, bytes, Some(0), Some(bytes), 0)]
}

fn payload(totals: &Totals, service: &str) -> Option<u64> {
    count(&exposed(totals), "zc_service_payload_bytes_total", &[service])
}

#[test]
fn without_the_wish_there_are_no_series_by_service() {
    let mut totals = Totals::new(Caps::default());
    totals.add(&interval(vec![process("cat", sent(7))]));
    assert!(exposed(&totals).families().all(|(family, _)| !family.name.starts_with("zc_service")));
}

#[test]
fn the_first_services_keep_their_series_and_the_rest_is_other() {
    let mut totals = totals(ServiceBy::Comm, 2);
    totals.add(&interval(vec![process("a", sent(1)), process("idle", Vec::new()), process("b", sent(2))]));
    totals.add(&interval(vec![process("c", sent(1000)), process("d", sent(30)), process("a", sent(4))]));
    assert_eq!(["a", "b", OTHER].map(|name| payload(&totals, name)), [Some(5), Some(2), Some(1030)]);
    assert_eq!(["c", "idle", NONE].map(|name| payload(&totals, name)), [None; 3]);
    let out = exposed(&totals);
    assert_eq!((count(&out, "zc_services", &[]), count(&out, "zc_services_max", &[])), (Some(2), Some(2)));
    assert_eq!(count(&out, "zc_service_transfer_bytes_total", &["a", "sendfile"]), Some(5));
    assert_eq!(count(&out, "zc_service_by_reference_bytes_total", &[OTHER]), Some(1030));
}

#[test]
fn whoever_is_called_like_the_rest_takes_no_place() {
    let mut totals = totals(ServiceBy::Comm, 0);
    totals.add(&interval(vec![process(NONE, sent(1)), process(OTHER, sent(2)), process("", sent(4))]));
    assert_eq!((payload(&totals, NONE), payload(&totals, OTHER)), (Some(5), Some(2)));
}

#[test]
fn a_service_is_what_was_asked_for() {
    let who = Who {
        comm: Some("nginx".to_owned()),
        cgroup: Some("/system.slice/nginx.service/workers".to_owned()),
        container: Some("web1".to_owned()),
        ..Who::default()
    };
    for (by, name) in [
        (ServiceBy::Comm, "nginx"),
        (ServiceBy::Cgroup, "/system.slice/nginx.service/workers"),
        (ServiceBy::Container, "web1"),
        (ServiceBy::Unit, "nginx.service"),
    ] {
        let mut totals = totals(by, 1);
        let nobody = ProcessChange { rows: sent(2), ..ProcessChange::default() };
        totals.add(&interval(vec![
            ProcessChange { who: who.clone(), rows: sent(3), ..ProcessChange::default() },
            nobody,
        ]));
        assert_eq!((payload(&totals, name), payload(&totals, NONE)), (Some(3), Some(2)));
        assert_eq!(ServiceBy::from_name(by.name()), Some(by));
    }
    assert_eq!(ServiceBy::from_name("pid"), None);
}

#[test]
fn names_are_cut_and_have_no_control_characters() {
    let mut totals = totals(ServiceBy::Cgroup, 9);
    let deep = format!("/{}/ende", "ä".repeat(200));
    for cgroup in ["/a\n\u{1b}[2J", &deep] {
        let who = Who { cgroup: Some(cgroup.to_owned()), ..Who::default() };
        totals.add(&interval(vec![ProcessChange { who, rows: sent(1), ..ProcessChange::default() }]));
    }
    assert_eq!(payload(&totals, "/a\u{fffd}\u{fffd}[2J"), Some(1));
    assert_eq!(payload(&totals, &format!("…{}/ende", "ä".repeat(60))), Some(1), "at most 128 bytes");
}
