//! The form of a log: where it ends, every way in which it can be malformed, and what its text may be.

use super::*;

#[test]
fn the_end_of_a_log_is_its_last_byte_or_padding() {
    let log = Log { padding: Padding::None, ..Log::boot() };
    let expected = read(&log);
    for padding in [
        Padding::Zeros(1),
        Padding::Zeros(3),
        Padding::Zeros(4096),
        Padding::Ones(1),
        Padding::Ones(3),
        Padding::Ones(4),
        Padding::Ones(4096),
    ] {
        assert_eq!(read(&Log { padding, ..log.clone() }), expected, "{padding:?}");
    }
    // OVMF's end marker, then memory that was never written.
    let bytes = [log.build(), vec![0xff; 4], vec![0; 100]].concat();
    assert_eq!(replay(&bytes).unwrap(), expected);
    for tail in
        [&[0xff, 0xff, 0xff, 0xff, 1][..], &[0xff, 0xff, 0xff, 0xff, 0, 0xff], &[0xff, 0xff, 0xff, 0xff, 0xff, 0]]
    {
        let bytes = [&log.build(), tail].concat();
        assert_eq!(replay(&bytes), Err(CcelError::TrailingBytes { offset: log.build().len() }));
    }
    let only_spec = Log::new(vec![]);
    assert_eq!(read(&only_spec).events, []);
    assert_eq!(differing(&only_spec, &[[0; 48]; 4]), []);
}

#[test]
fn a_log_of_another_form_is_refused_by_name() {
    use CcelError as E;
    type Case = (&'static str, fn(&mut Log), E);
    let count = |got| E::AlgorithmCount { got, limit: 9 };
    let cases: Vec<Case> = vec![
        ("first event elsewhere", |l| l.spec_register = 1, E::NotCryptoAgile),
        ("first event of another kind", |l| l.spec_kind = kind::SEPARATOR, E::NotCryptoAgile),
        ("older log", |l| l.spec_signature = *b"Spec ID Event02\0", E::NotCryptoAgile),
        ("signature's last byte", |l| l.spec_signature[15] = b'x', E::NotCryptoAgile),
        ("version 1.2", |l| l.spec_version = [2, 1, 0, 2], E::Version { major: 1, minor: 2 }),
        ("version 2.1", |l| l.spec_version = [1, 2, 0, 2], E::Version { major: 2, minor: 1 }),
        ("version 3.0", |l| l.spec_version = [0, 3, 0, 2], E::Version { major: 3, minor: 0 }),
        ("no algorithms", |l| l.algorithm_count = Some(0), count(0)),
        ("ten algorithms", |l| l.algorithm_count = Some(10), count(10)),
        ("billions of algorithms", |l| l.algorithm_count = Some(u32::MAX), count(u32::MAX)),
        (
            "one algorithm more than there are",
            |l| (l.algorithm_count, l.vendor) = (Some(3), vec![]),
            E::Truncated { part: Part::SpecData, event: 0, offset: 64 },
        ),
        ("algorithm twice", |l| l.algorithms.push((12, 48)), E::AlgorithmTwice { algorithm: 12 }),
        ("no SHA-384", |l| l.algorithms = vec![(11, 32)], E::NoSha384),
        (
            "SHA-384 of 32 bytes",
            |l| l.algorithms = vec![(12, 32)],
            E::AlgorithmSize { algorithm: 12, got: 32, expected: 48 },
        ),
        (
            "SHA-256 of 33 bytes",
            |l| l.algorithms.push((11, 33)),
            E::AlgorithmSize { algorithm: 11, got: 33, expected: 32 },
        ),
        ("SHA-1 of no bytes", |l| l.algorithms.push((4, 0)), E::AlgorithmSize { algorithm: 4, got: 0, expected: 20 }),
        ("more in the Spec ID", |l| l.spec_rest = vec![0], E::SpecRest { got: 1 }),
        ("register 5", |l| l.events[3].register = 5, E::RegisterIndex { event: 4, index: 5 }),
        ("a TPM's register 7", |l| l.events[0].register = 7, E::RegisterIndex { event: 1, index: 7 }),
        (
            "almost the end marker",
            |l| l.events[23].register = 0xffff_fffe,
            E::RegisterIndex { event: 24, index: 0xffff_fffe },
        ),
        ("the end marker in the middle", |l| l.events[23].register = u32::MAX, E::TrailingBytes { offset: 0 }),
    ];
    for (name, change, expected) in cases {
        let mut log = Log::boot();
        change(&mut log);
        let error = replay(&log.build()).unwrap_err();
        match (&error, &expected) {
            (E::TrailingBytes { .. }, E::TrailingBytes { .. }) => {}
            _ => assert_eq!(error, expected, "{name}"),
        }
        assert!(error.code().starts_with("ccel-") && error.fault().is_refusal(), "{name}");
    }
}

#[test]
fn digests_of_an_event_are_those_that_the_log_lists() {
    let log = Log { algorithms: vec![(11, 32), (12, 48)], ..Log::new(vec![Event::separator(1)]) };
    assert_eq!(read(&log).registers[0], read(&Log::new(vec![Event::separator(1)])).registers[0]);
    let good = log.build();
    let event = good.len() - log.event(&log.events[0]).len();
    let count = event + 8;
    let first = event + 12;
    let second = first + 2 + 32;
    let put = |at: usize, bytes: &[u8]| {
        let mut log = good.clone();
        log[at..at + bytes.len()].copy_from_slice(bytes);
        replay(&log).unwrap_err()
    };
    let counted = |got| CcelError::DigestCount { event: 1, got, expected: 2 };
    assert_eq!(put(count, &[0]), counted(0));
    assert_eq!(put(count, &[1]), counted(1));
    assert_eq!(put(count, &[3]), counted(3));
    assert_eq!(put(count, &[0xff; 4]), counted(u32::MAX));
    assert_eq!(put(first, &[4]), CcelError::UnknownAlgorithm { event: 1, algorithm: 4 });
    assert_eq!(put(second, &[13]), CcelError::UnknownAlgorithm { event: 1, algorithm: 13 });
    assert_eq!(put(second, &[11]), CcelError::DigestTwice { event: 1, algorithm: 11 });
    let size = second + 2 + 48;
    let truncated = CcelError::Truncated { part: Part::Data, event: 1, offset: size + 4 };
    assert_eq!(put(size, &[5]), truncated);
    assert_eq!(put(size, &[0xff; 4]), truncated);
}

#[test]
fn a_log_cut_anywhere_is_shorter_or_truncated_and_never_another() {
    let log = Log { padding: Padding::None, ..Log::boot() };
    let whole = log.build();
    let mut ends = vec![whole.len() - log.events.iter().map(|event| log.event(event).len()).sum::<usize>()];
    for event in &log.events {
        ends.push(ends.last().unwrap() + log.event(event).len());
    }
    let all = read(&log).events;
    for cut in 0..whole.len() {
        match replay(&whole[..cut]) {
            Ok(short) => {
                // After a whole event, or where all that is left of the next one is zeros.
                let events = short.events.len();
                assert!(whole[ends[events]..cut].iter().all(|byte| *byte == 0), "cut at {cut}");
                assert_eq!(short.events, all[..events]);
            }
            Err(error) => assert!(matches!(error, CcelError::Truncated { .. }), "cut at {cut}: {error}"),
        }
    }
}

#[test]
fn limits_hold() {
    let log = vec![0; MAX_LOG + 1];
    assert_eq!(replay(&log), Err(CcelError::TooLong { got: MAX_LOG + 1, limit: MAX_LOG }));
    let many = |count| Log::new(vec![Event::separator(3); count]);
    assert_eq!(read(&many(MAX_EVENTS)).events.len(), MAX_EVENTS);
    assert_eq!(replay(&many(MAX_EVENTS + 1).build()), Err(CcelError::TooManyEvents { limit: MAX_EVENTS }));
    assert!(matches!(replay(&[]), Err(CcelError::Truncated { part: Part::SpecHeader, event: 0, offset: 0 })));
}

#[test]
fn text_of_a_log_is_printable_and_bounded() {
    let long = "x".repeat(100_000);
    let events = vec![
        Event::new(3, kind::ACTION, b"\x1b[2J\x07"),
        Event::new(3, kind::ACTION, "caf\u{e9} \u{202e}gpj".as_bytes()),
        Event::new(3, kind::ACTION, long.as_bytes()),
        Event::new(3, kind::IPL, format!("kernel_cmdline: {long}").as_bytes()),
        Event::variable(1, kind::VARIABLE_DRIVER_CONFIG, &long[..40_000], long.as_bytes()),
        Event::variable(1, kind::VARIABLE_DRIVER_CONFIG, "a\u{1b}\u{202e}b", b"line\nline"),
        Event::image(2, &format!("\\{}", &long[..30_000]), b""),
        Event::td_shim(1, "td_\x1b[2J", b"\x1b[2J"),
        Event::tagged(3, 1, "\u{1b}[2J", b""),
    ];
    let mut log = Log::new(events);
    log.vendor = b"\x1b[2Jvendor".to_vec();
    let replay = read(&log);
    for text in replay.events.iter().flat_map(|event| [&event.name, &event.description]).chain([&replay.spec.vendor]) {
        assert!(text.chars().all(|c| c == '…' || matches!(c, ' '..='~')), "{text:?}");
        assert!(text.chars().count() <= 641, "{} characters", text.chars().count());
    }
    assert!(replay.events.iter().all(|event| event.name.chars().count() <= 129));
}

#[test]
fn data_that_lie_about_their_lengths_are_described_as_bytes() {
    let mut name_too_long = variable("SecureBoot", &[1]);
    name_too_long[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut value_too_long = variable("SecureBoot", &[1]);
    value_too_long[24] = 2;
    let mut path_too_long = Event::image(2, "\\a", b"").data;
    path_too_long[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut node_of_no_length = Event::image(2, "\\a", b"").data;
    node_of_no_length[34..36].copy_from_slice(&[0, 0]);
    for (kind, data) in [
        (kind::VARIABLE_DRIVER_CONFIG, name_too_long),
        (kind::VARIABLE_DRIVER_CONFIG, value_too_long),
        (kind::BOOT_SERVICES_APPLICATION, path_too_long),
        (kind::BOOT_SERVICES_APPLICATION, node_of_no_length),
        (kind::FIRMWARE_BLOB2, vec![0xff; 40]),
        (kind::EVENT_TAG, vec![0xff; 40]),
        (kind::GPT, vec![0xff; 40]),
        (kind::PLATFORM_CONFIG_FLAGS, vec![0xff; 40]),
    ] {
        let replay = read(&Log::new(vec![Event::new(2, kind, &data)]));
        let event = &replay.events[0];
        assert!(event.description.ends_with("bytes"), "{}: {}", event.kind, event.description);
    }
}

#[test]
fn boot_loaders_bind_the_text_behind_their_labels() {
    let cases: &[(&[u8], &[u8], bool)] = &[
        (b"grub_cmd: set x=1\0", b"set x=1", true),
        (b"grub_cmd: set x=1\0", b"set x=1\0", true),
        (b"grub_cmd: set x=1", b"set x=1", true),
        (b"grub_cmd set x=1\0", b"set x=1", true),
        (b"grub_kernel_cmdline /vmlinuz quiet\0", b"/vmlinuz quiet", true),
        (b"module_cmdline: /m a\0", b"/m a", true),
        (b"kernel_cmdline: /vmlinuz\0", b"kernel_cmdline: /vmlinuz\0", true),
        (b"kernel_cmdline: /vmlinuz\0", b"/vmlinuz ", false),
        (b"kernel_cmdline: /vmlinuz\0", b"/vmlinux", false),
        (b"grub_cmd: \0", b"x", false),
    ];
    for (data, measured, is_bound) in cases {
        let replay = read(&Log::new(vec![Event::of(3, kind::IPL, data, measured)]));
        let event = &replay.events[0];
        let expected = DataCheck::Contradicts { computed: Measurement::from_bytes([0; 48]) };
        let is_contradiction = std::mem::discriminant(&event.data) == std::mem::discriminant(&expected);
        assert_eq!((event.data == DataCheck::Matches, is_contradiction), (*is_bound, !is_bound), "{event}");
    }
    // A file: the digest is over its contents, the text is its name.
    let file = read(&Log::new(vec![Event::of(3, kind::IPL, b"/boot/grub/grub.cfg", b"contents")]));
    assert_eq!(file.events[0].data, DataCheck::Unverifiable);
}

#[test]
fn kinds_have_their_names() {
    assert_eq!(EventKind(4).to_string(), "EV_SEPARATOR");
    assert_eq!(EventKind::EFI_VARIABLE_AUTHORITY.to_string(), "EV_EFI_VARIABLE_AUTHORITY");
    assert_eq!(EventKind(0x1234).to_string(), "0x1234");
}

#[test]
fn separators_say_what_they_separate() {
    let error = Event::of(1, kind::SEPARATOR, b"no disk", &[1, 0, 0, 0]);
    let unsaid = Event::of(1, kind::SEPARATOR, &[0; 4], &[1, 0, 0, 0]);
    let windows = Event::new(1, kind::SEPARATOR, &[0xff; 4]);
    let replay = read(&Log::new(vec![error, unsaid, windows]));
    let checks: Vec<_> =
        replay.events.iter().map(|event| (event.data == DataCheck::Matches, event.description.as_str())).collect();
    // An error must not pass for none.
    let expected = [(true, "separator: error, no disk"), (false, "separator: 0"), (true, "separator: 0xffffffff")];
    assert_eq!(checks, expected);
    assert_eq!(replay.contradictions().count(), 1);
}

fn any_event() -> impl Strategy<Value = Event> {
    let kinds = prop_oneof![
        Just(kind::SEPARATOR),
        Just(kind::NO_ACTION),
        Just(kind::IPL),
        Just(kind::EVENT_TAG),
        Just(kind::GPT),
        Just(kind::VARIABLE_BOOT),
        Just(kind::VARIABLE_DRIVER_CONFIG),
        Just(kind::BOOT_SERVICES_APPLICATION),
        Just(kind::FIRMWARE_BLOB2),
        Just(kind::PLATFORM_CONFIG_FLAGS),
        any::<u32>(),
    ];
    (0_u32..5, kinds, proptest::collection::vec(any::<u8>(), 0..80))
        .prop_map(|(register, kind, data)| Event::new(register, kind, &data))
}

proptest! {
    #[test]
    fn any_events_replay_to_their_registers(events in proptest::collection::vec(any_event(), 0..12), zeros in 0_usize..40) {
        let log = Log { padding: Padding::Zeros(zeros), ..Log::new(events) };
        let replay = read(&log);
        prop_assert_eq!(replay.events.len(), log.events.len());
        prop_assert_eq!(replay.registers.map(|register| *register.as_bytes()), log.registers());
        prop_assert_eq!(replay.contradictions().count(), 0);
        let _ = explain(&replay, Some(&[[1; 48]; 4]));
    }

    #[test]
    fn a_log_with_any_bytes_changed_or_cut_is_read_without_a_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut log = Log::boot().build();
        for (at, value) in changes {
            let at = at.index(log.len());
            log[at] = value;
        }
        log.truncate(cut.index(log.len() + 1));
        if let Ok(replay) = replay(&log) {
            let _ = explain(&replay, Some(&Log::boot().registers()));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), header: bool) {
        let bytes = if header { [Log::new(vec![]).build(), bytes].concat() } else { bytes };
        let _ = replay(&bytes);
    }
}
