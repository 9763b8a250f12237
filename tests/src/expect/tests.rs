use super::*;

#[test]
fn a_ledger_adds_calls_of_the_same_ends_into_one_row() {
    let mut ledger = Ledger::new();
    ledger.reads(Kind::File, 7, 1).empty_reads(Kind::File, 2).reads(Kind::Pipe, 5, 1);
    let plan = ledger.into_expectation();
    assert_eq!(plan.rows.len(), 2);
    let row = plan.row("read", Kind::File, Kind::Memory).expect("the row of reads");
    assert_eq!((row.bytes, row.syscalls, row.transfers), (7, 3, Some(1)));
}

#[test]
fn a_relay_counts_as_read_and_as_written() {
    let mut ledger = Ledger::new();
    ledger.relayed((Kind::File, Kind::Tcp), 11, 1, 2).reads(Kind::File, 3, 1).writes(Kind::Tcp, 2, 1);
    let plan = ledger.into_expectation();
    assert_eq!((plan.bytes_read(), plan.bytes_written(), plan.data_calls()), (14, 13, 5));
}

#[test]
fn open_transfers_stay_open_whatever_is_added() {
    let mut ledger = Ledger::new();
    ledger.row("read", (Kind::File, Kind::Memory), 4, 0, None).reads(Kind::File, 4, 1);
    assert_eq!(ledger.into_expectation().rows[0].transfers, None);
}
