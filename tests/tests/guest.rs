//! What the virtual machines of `cargo xtask vm-test` have and few other machines: network devices with and without
//! offloads, a disk of their own with ext4, and TLS in the kernel.
//!
//! Run there alone: `xtask` makes the devices, and says by variables which there are.

use std::{fs, sync::OnceLock};

use zc_tests::{
    compare::{assert_exact, assert_true_but},
    expect::Kind,
    fixture,
    fixtures::of_guests,
    job::Job,
    machine,
    session::Session,
    zc::Zc,
};

/// What a case is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// All that the fixture knows must be said.
    Exact,
    /// Part of it may be unknown; nothing may be said that is not so.
    True,
}

/// What a case needs of the machine, beside what all of these machines have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Devices that the host takes packets in pieces from.
    Pieces,
    /// Devices without scatter-gather, and a disk.
    Nothing,
}

impl Needs {
    fn of(fixture: &str) -> Self {
        let pieces = fixture.starts_with("virtio-") && !fixture.starts_with("virtio-plain-");
        if pieces { Self::Pieces } else { Self::Nothing }
    }

    /// Whether it is there; says why the test is skipped when not.
    fn is_there(self) -> bool {
        if !machine::require_guest() {
            return false;
        }
        match std::env::var("ZC_NO_PIECES") {
            Ok(reason) if self == Self::Pieces => {
                eprintln!("skipped: {reason}");
                false
            }
            _ => true,
        }
    }
}

fn comes_out_right(name: &'static str, held: Held) {
    let needs = Needs::of(name);
    if !needs.is_there() {
        return;
    }
    let Some(zc) = Zc::with(&[]) else { return };
    let session = session(&zc);
    let expected = session.work(name).expectation();
    match held {
        Held::Exact => assert_exact(name, session.traced(), &expected),
        Held::True => assert_true_but(name, session.traced(), &expected, &[]),
    }
}

/// One zc for all of them.
fn session(zc: &Zc) -> &'static Session {
    static SESSION: OnceLock<Result<Session, String>> = OnceLock::new();
    let session = SESSION.get_or_init(|| {
        let there = CASES.iter().filter(|(name, _)| Needs::of(name).is_there());
        Session::run(zc, there.map(|(name, _)| fixture!(*name)).collect())
    });
    session.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

macro_rules! cases {
    ($($held:ident { $($test:ident: $fixture:literal;)* })*) => {
        $($(#[test] fn $test() { comes_out_right($fixture, Held::$held); })*)*

        const CASES: &[(&str, Held)] = &[$($(($fixture, Held::$held)),*),*];

        #[test]
        fn every_fixture_for_such_a_machine_has_a_test_of_its_own() {
            let all = of_guests().into_iter().map(|fixture| fixture.name);
            let forgotten: Vec<_> = all.filter(|name| !CASES.iter().any(|(case, _)| case == name)).collect();
            assert_eq!(forgotten, Vec::<&str>::new());
        }
    };
}

cases! {
    Exact {
        a_virtio_device_reads_the_pages_of_files: "virtio-sendfile";
        a_virtio_device_reads_the_pages_of_spliced_files: "virtio-splice";
        a_virtio_device_reads_spliced_memory: "virtio-vmsplice";
        a_virtio_device_reads_what_msg_zerocopy_sends: "virtio-zerocopy";
        a_virtio_device_reads_what_a_ring_sends: "virtio-ring";
        a_virtio_device_reads_a_registered_buffer: "virtio-ring-registered";
        headers_are_copied_and_a_virtio_device_reads_the_files_between_them: "virtio-headers";
        files_are_copied_for_a_virtio_device_without_scatter_gather: "virtio-plain-sendfile";
        spliced_files_are_copied_for_a_virtio_device_without_scatter_gather: "virtio-plain-splice";
        spliced_memory_is_copied_for_a_virtio_device_without_scatter_gather: "virtio-plain-vmsplice";
        a_virtio_device_without_scatter_gather_lets_msg_zerocopy_lie: "virtio-plain-zerocopy";
        a_virtio_device_without_scatter_gather_lets_a_ring_lie: "virtio-plain-ring";
        headers_and_files_are_copied_for_a_virtio_device_without_scatter_gather: "virtio-plain-headers";
        files_are_copied_by_a_driver_with_bounce_buffers: "virtio-bounced-sendfile";
        spliced_memory_is_copied_by_a_driver_with_bounce_buffers: "virtio-bounced-vmsplice";
        the_kernel_does_not_report_the_copies_of_a_driver_with_bounce_buffers: "virtio-bounced-zerocopy";
        a_ring_does_not_report_the_copies_of_a_driver_with_bounce_buffers: "virtio-bounced-ring";
        headers_are_copied_twice_by_a_driver_with_bounce_buffers: "virtio-bounced-headers";
        direct_reads_of_a_disk_with_bounce_buffers_are_unknown: "disk-bounced";
        storage_delivers_what_sendfile_sends: "disk-sendfile-cold";
        nothing_is_delivered_for_what_is_in_memory: "disk-sendfile-warm";
        a_disk_fills_the_pages_that_direct_sendfile_sends: "disk-sendfile-direct";
        cold_warm_and_direct_reads_are_told_apart: "disk-reads";
        writes_to_a_connection_with_tls_are_encrypted_into_other_memory: "tls-write";
        a_file_through_memory_to_a_connection_with_tls_is_copied_twice: "tls-relay";
        sendfile_to_a_connection_with_tls_is_encrypted_into_other_memory: "tls-sendfile";
        splice_to_a_connection_with_tls_is_encrypted_into_other_memory: "tls-splice";
        vmsplice_to_a_connection_with_tls_is_encrypted_into_other_memory: "tls-vmsplice";
        what_comes_by_tls_is_decrypted_into_other_memory: "tls-received";
        a_connection_has_tls_from_the_call_on_that_adds_it: "tls-later";
    }
    True {
        a_proxy_to_a_virtio_device_has_both_directions_as_they_are: "virtio-proxy";
    }
}

/// A real server: that of OpenSSL, which sends files by sendfile(2) when its connections have TLS in the kernel.
#[test]
fn files_that_openssl_sends_with_kernel_tls_are_encrypted_by_the_processor() {
    const LEN: usize = 1_000_003;
    const CONFIGURATION: &str = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n\
        [tls]\nOptions = KTLS\n[req]\ndistinguished_name = name\n[name]\n";
    const KEY: &str = "cd \"$1\" && openssl req -config openssl.cnf -x509 -newkey ec -pkeyopt \
        ec_paramgen_curve:prime256v1 -nodes -subj /CN=zc -days 2 -keyout key.pem -out cert.pem";
    // It serves what is looking for it, and then the client.
    const SERVER: &str = "cd \"$1\" && export OPENSSL_CONF=openssl.cnf && exec openssl s_server -quiet -tls1_2 \
        -accept \"127.0.0.1:$2\" -cert cert.pem -key key.pem -WWW -sendfile -naccept 2";
    const CLIENT: &str = "printf 'GET /in.bin HTTP/1.0\\r\\n\\r\\n' | \
        openssl s_client -connect \"127.0.0.1:$2\" -tls1_2 -quiet >\"$1/out.bin\"";
    if !machine::require_guest() {
        return;
    }
    let Some(zc) = Zc::with(&["openssl"]) else { return };
    let dir = machine::temp_dir();
    let input = machine::random_file(dir.path(), "in.bin", LEN);
    fs::write(dir.path().join("openssl.cnf"), CONFIGURATION).expect("a configuration");
    let port = machine::free_port();
    let words = |script: &'static str| {
        let dir = dir.path().to_str().expect("a UTF-8 path").to_owned();
        ["sh".into(), "-c".into(), script.into(), "sh".into(), dir, port.to_string()]
    };
    let made = Job::new(&words(KEY)).finish();
    assert!(made.status.success(), "openssl req: {}", made.stderr);
    let serving = zc.start(&words(SERVER));
    machine::wait_for_port(port);
    let fetched = Job::new(&words(CLIENT)).finish();
    assert!(fetched.status.success(), "openssl s_client: {}", fetched.stderr);
    let traced = serving.collect();
    let [sent, came] = [input.into(), dir.path().join("out.bin")].map(|path| fs::read(path).expect("a file"));
    assert!(came.ends_with(&sent), "{} bytes came: {}", came.len(), traced.done.stderr);
    let openssl = traced.report.named("openssl");
    let row = openssl.row("sendfile", Kind::File, Kind::Tcp).expect("the row of the file");
    let copies = (row.bytes, row.cpu_copied_bytes, row.by_reference_bytes, row.unknown_bytes);
    assert_eq!(copies, (LEN as u64, Some(LEN as u64), Some(0), Some(0)));
    assert_eq!(row.verdict, "copied");
    assert!(
        row.reason.as_deref().is_some_and(|reason| reason.starts_with("software TLS")),
        "{:?}",
        row.reason
    );
    traced.report.assert_nothing_lost();
}
