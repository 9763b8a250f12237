//! The bait suite: transfers of which the call, the socket's options or the kernel's own report say something else than what
//! became of their bytes. None of it may be said wrongly.

use std::{collections::BTreeMap, sync::Mutex};

use zc_tests::{
    compare::{RUNS, assert_exact_but, assert_true_but, is_true_but_unseen},
    fixture,
    fixtures::all,
    session::{self, Session},
    zc::Zc,
};

/// What a case is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// All that the fixture knows must be said.
    Exact,
    /// Part of it may be unknown; nothing may be said that is not so.
    True,
    /// The same, and that a report which comes within the call belongs to no send may be declared.
    Reported,
    /// The same, and that calls at the same time could not be told apart may be declared.
    Together,
}

fn comes_out_right(name: &'static str, held: Held) {
    let Some(zc) = Zc::with(&[]) else { return };
    let (compare, allowed): (fn(_, &_, &_, &[&str]), &[&str]) = match held {
        Held::Exact => (assert_exact_but, &[]),
        Held::True => (assert_true_but, &[]),
        Held::Reported => (assert_true_but, &["zerocopy_unmatched"]),
        Held::Together => (assert_true_but, &["transmissions_unmatched"]),
    };
    if session::is_wanted() {
        let session = session_of(&zc, held);
        let expectation = session.work(name).expectation();
        if held != Held::Exact || !is_true_but_unseen(session.traced(), &expectation, allowed) {
            compare(name, session.traced(), &expectation, allowed);
            return;
        }
    }
    let mut runs = if held == Held::Exact { RUNS } else { 1 };
    loop {
        let work = fixture!(name);
        let traced = zc.run_json(&[], &work.command());
        assert!(traced.done.status.success(), "{name} failed: {}", traced.done.stderr);
        runs -= 1;
        if runs == 0 || !is_true_but_unseen(&traced, &work.expectation(), allowed) {
            compare(name, &traced, &work.expectation(), allowed);
            return;
        }
        eprintln!("{name}: some bytes were not seen to leave, and are said to be unknown; once more");
    }
}

/// One zc for all of which the same may be declared as lost: what is lost of one is said of all.
fn session_of(zc: &Zc, held: Held) -> &'static Session {
    static SESSIONS: Mutex<BTreeMap<&str, &Result<Session, String>>> = Mutex::new(BTreeMap::new());
    let group = |held| match held {
        Held::Exact | Held::True => "nothing",
        Held::Reported => "reports",
        Held::Together => "calls at the same time",
    };
    let mut sessions = SESSIONS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let session = sessions.entry(group(held)).or_insert_with(|| {
        let names = CASES.iter().filter(|(_, of)| group(*of) == group(held));
        Box::leak(Box::new(Session::run(zc, names.map(|(name, _)| fixture!(*name)).collect())))
    });
    session.as_ref().unwrap_or_else(|error| panic!("{}: {error}", group(held)))
}

macro_rules! baits {
    ($($held:ident { $($test:ident: $fixture:literal;)* })*) => {
        $($(#[test] fn $test() { comes_out_right($fixture, Held::$held); })*)*

        const CASES: &[(&str, Held)] = &[$($(($fixture, Held::$held)),*),*];

        #[test]
        fn every_bait_has_a_test_of_its_own() {
            let all = all().into_iter().map(|fixture| fixture.name).filter(|name| name.starts_with("bait-"));
            let forgotten: Vec<_> = all.filter(|name| !CASES.iter().any(|(case, _)| case == name)).collect();
            assert_eq!(forgotten, Vec::<&str>::new());
        }
    };
}

baits! {
    Exact {
        msg_zerocopy_without_the_option_copies: "bait-zerocopy-unset";
        a_zerocopy_send_by_a_ring_is_copied_on_delivery: "bait-ring-loopback";
        a_registered_buffer_is_copied_on_delivery: "bait-ring-registered";
        a_capture_copies_what_msg_zerocopy_sends: "bait-captured-zerocopy";
        sendfile_over_loopback_hands_on_pages: "bait-sendfile-loopback";
        sendfile_to_a_device_with_scatter_gather_hands_on_pages: "bait-sendfile-veth";
        sendfile_to_a_device_without_scatter_gather_copies: "bait-sendfile-linear";
        sendfile_from_tmpfs_hands_on_pages: "bait-sendfile-tmpfs";
        sendfile_from_an_overlay_hands_on_pages: "bait-sendfile-overlay";
        what_leaves_after_its_sender_is_the_senders: "bait-sendfile-left";
        splice_to_a_device_without_scatter_gather_copies: "bait-splice-linear";
        splice_to_a_device_with_scatter_gather_hands_on_pages: "bait-splice-veth";
        vmsplice_over_loopback_hands_on_memory: "bait-vmsplice-loopback";
        vmsplice_to_a_device_with_scatter_gather_hands_on_memory: "bait-vmsplice-veth";
        vmsplice_to_a_device_without_scatter_gather_copies: "bait-vmsplice-linear";
        a_zerocopy_send_by_a_ring_without_scatter_gather_copies: "bait-ring-linear";
        a_registered_buffer_without_scatter_gather_is_copied: "bait-ring-registered-linear";
        headers_are_copied_and_files_between_them_are_not: "bait-headers-loopback";
        headers_over_veth_are_copied_and_files_between_them_are_not: "bait-headers-veth";
        headers_and_files_without_scatter_gather_are_copied: "bait-headers-linear";
        two_processes_that_take_turns_have_each_its_own_bytes: "bait-shared-turns";
        a_passed_socket_has_the_bytes_of_each_holder: "bait-passed";
        a_proxy_that_splices_without_scatter_gather_copies: "bait-proxy-linear";
        what_is_sent_twice_counts_once: "bait-lossy";
        a_capture_does_not_copy_what_sendfile_sends: "bait-captured";
    }
    True {
        what_a_queue_has_lost_counts_once_if_at_all: "bait-lossy-queue";
        sendfile_from_direct_io_is_not_said_to_copy: "bait-sendfile-direct";
        sendfile_to_a_file_copies: "bait-sendfile-file";
        a_proxy_has_both_directions_as_they_are: "bait-proxy";
    }
    Reported {
        msg_zerocopy_over_loopback_is_copied_on_delivery: "bait-zerocopy-loopback";
        msg_zerocopy_over_veth_is_copied_on_delivery: "bait-zerocopy-veth";
        msg_zerocopy_to_a_device_without_scatter_gather_copies_whatever_is_reported: "bait-zerocopy-linear";
    }
    Together {
        two_processes_at_once_have_no_wrong_bytes: "bait-shared-together";
        two_threads_at_once_have_no_wrong_bytes: "bait-shared-threads";
    }
}
