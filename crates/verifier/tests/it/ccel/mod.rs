//! Event logs of TDX guests: what a log says, every way in which it can be malformed, and which event is named when
//! something was altered.

mod form;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use protocol::digest::Measurement;
use testkit::ccel::{Event, Log, Padding, kind, sha384, variable};
use verifier::ccel::{
    CcelError, DataCheck, EventKind, MAX_EVENTS, MAX_LOG, NamedOutcome, Part, Reason, ReferenceEvent, Register,
    RegisterOutcome, Replay, SEARCHED_EVENTS, check_named, compare, differences, explain, first_difference, replay,
};

fn read(log: &Log) -> Replay {
    replay(&log.build()).unwrap()
}

/// The registers that differ, each with its candidates.
fn differing(log: &Log, rtmrs: &[[u8; 48]; 4]) -> Vec<(Register, Vec<(usize, Reason)>)> {
    compare(&read(log), rtmrs)
        .into_iter()
        .filter_map(|(register, outcome)| match outcome {
            RegisterOutcome::Matches => None,
            RegisterOutcome::Differs { candidates, replayed, reported } => {
                assert_ne!(replayed, reported);
                Some((register, candidates.iter().map(|candidate| (candidate.event, candidate.reason)).collect()))
            }
        })
        .collect()
}

/// Where an event of the log is measured, as the kit counts registers.
fn register_of(event: &Event) -> Register {
    [Register::Mrtd, Register::Rtmr0, Register::Rtmr1, Register::Rtmr2, Register::Rtmr3][event.register as usize]
}

fn table(replay: &Replay) -> String {
    let mut text = String::new();
    for event in &replay.events {
        let data = match event.data {
            DataCheck::Matches => "bound",
            DataCheck::Contradicts { .. } => "CONTRADICTS",
            DataCheck::Unverifiable => "label",
            DataCheck::NotMeasured => "not measured",
        };
        let (register, kind, name) = (event.register, event.kind, &event.name);
        text.push_str(&format!("{} {register} {kind} [{data}] {name}: {}\n", event.index, event.description));
    }
    text
}

#[test]
fn a_boot_is_told_event_by_event() {
    let replay = read(&Log::boot());
    assert_eq!(replay.spec.vendor, "testkit");
    assert_eq!(replay.spec.algorithms, [(12, 48)]);
    expect![[r#"
        1 MRTD EV_NO_ACTION [not measured] 17 bytes: 17 bytes
        2 RTMR0 EV_EFI_HANDOFF_TABLES2 [label] TdxTable: TdxTable
        3 RTMR0 EV_EFI_PLATFORM_FIRMWARE_BLOB2 [label] BFV: OVMF.fd: BFV: OVMF.fd: 0 bytes at 0x0
        4 RTMR0 EV_S_CRTM_VERSION [bound] firmware version: firmware version: edk2-stable
        5 RTMR0 EV_EFI_VARIABLE_DRIVER_CONFIG [bound] SecureBoot: SecureBoot: 01
        6 RTMR0 EV_EFI_VARIABLE_DRIVER_CONFIG [bound] PK: PK: 900 bytes
        7 RTMR0 EV_EFI_VARIABLE_DRIVER_CONFIG [bound] KEK: KEK: 900 bytes
        8 RTMR0 EV_EFI_VARIABLE_DRIVER_CONFIG [bound] db: db: 1800 bytes
        9 RTMR0 EV_EFI_VARIABLE_DRIVER_CONFIG [bound] dbx: dbx: 64 bytes
        10 RTMR0 EV_SEPARATOR [bound] separator: separator: 0
        11 RTMR0 EV_PLATFORM_CONFIG_FLAGS [label] ACPI DATA: ACPI DATA
        12 RTMR0 EV_EFI_VARIABLE_BOOT [bound] BootOrder: BootOrder: 00000100
        13 RTMR0 EV_EFI_VARIABLE_BOOT [bound] Boot0000: Boot0000: UEFI Disk
        14 RTMR1 EV_EFI_ACTION [bound] Calling EFI Application from Boot Option: Calling EFI Application from Boot Option
        15 RTMR0 EV_EFI_VARIABLE_AUTHORITY [bound] db: db: 900 bytes
        16 RTMR1 EV_SEPARATOR [bound] separator: separator: 0
        17 RTMR1 EV_EFI_GPT_EVENT [bound] partition table: partition table: 2 partitions
        18 RTMR1 EV_EFI_BOOT_SERVICES_APPLICATION [label] \EFI\BOOT\BOOTX64.EFI: \EFI\BOOT\BOOTX64.EFI, 13 bytes
        19 RTMR2 EV_IPL [bound] grub_cmd: grub_cmd: linux /vmlinuz root=/dev/vda1
        20 RTMR2 EV_IPL [label] /vmlinuz: /vmlinuz
        21 RTMR2 EV_IPL [bound] kernel_cmdline: kernel_cmdline: /vmlinuz root=/dev/vda1 console=hvc0
        22 RTMR2 EV_EVENT_TAG [label] Linux initrd: Linux initrd (0x8f3b22ec)
        23 RTMR1 EV_EFI_ACTION [bound] Exit Boot Services Invocation: Exit Boot Services Invocation
        24 RTMR1 EV_EFI_ACTION [bound] Exit Boot Services Returned with Success: Exit Boot Services Returned with Success
    "#]].assert_eq(&table(&replay));
}

#[test]
fn a_replay_gives_the_registers() {
    let log = Log::boot();
    let replay = read(&log);
    assert_eq!(replay.registers.map(|register| *register.as_bytes()), log.registers());
    assert_eq!(differing(&log, &log.registers()), []);
    assert_eq!(replay.registers[3], Measurement::from_bytes([0; 48]), "nothing was measured into RTMR3");
    assert_eq!(replay.contradictions().count(), 0);
}

#[test]
fn a_register_is_extended_as_the_module_does() {
    let log = Log::new(vec![Event::separator(4), Event::new(4, kind::ACTION, b"x")]);
    let first = sha384(&[[0; 48], sha384(&[0; 4])].concat());
    let second = sha384(&[first, sha384(b"x")].concat());
    assert_eq!(read(&log).registers[3], Measurement::from_bytes(second));
}

#[test]
fn what_is_not_measured_changes_no_register() {
    let mut log = Log::boot();
    let registers = log.registers();
    for register in 0..=4 {
        log.events.insert(3, Event::of(register, kind::NO_ACTION, b"for information", b"anything"));
    }
    // The TDX module measures MRTD before any of this runs.
    log.events.push(Event::separator(0));
    assert_eq!(differing(&log, &registers), []);
    assert!(read(&log).events[3..8].iter().all(|event| event.data == DataCheck::NotMeasured));
}

#[test]
fn every_digest_flipped_makes_just_its_register_differ() {
    let good = Log::boot();
    for index in 0..good.events.len() {
        for bit in [0, 200, 383] {
            let mut log = good.clone();
            log.events[index].digest[bit / 8] ^= 1 << (bit % 8);
            let differing = differing(&log, &good.registers());
            let event = &good.events[index];
            if event.register == 0 {
                assert_eq!(differing, [], "event {}", index + 1);
                continue;
            }
            assert_eq!(differing.len(), 1, "event {}", index + 1);
            let (register, candidates) = &differing[0];
            assert_eq!(*register, register_of(event), "event {}", index + 1);
            // Where the digest is over the data, the event is named; where it is not, a known-good log names it.
            let is_bound = read(&good).events[index].data == DataCheck::Matches;
            let is_last = read(&good).measured_into(*register).last().unwrap().index == index + 1;
            if is_bound {
                assert!(
                    candidates.contains(&(index + 1, Reason::DigestAltered)),
                    "event {}: {candidates:?}",
                    index + 1
                );
                assert!(candidates.iter().all(|(event, _)| *event == index + 1));
            } else if !is_last {
                assert_eq!(candidates, &[], "event {}", index + 1);
            }
            let difference = first_difference(&read(&log), &read(&good)).unwrap();
            assert_eq!(difference.register, *register);
            assert_eq!(difference.got.as_ref().unwrap().event, index + 1);
            assert_eq!(difference.expected.unwrap().digest, Measurement::from_bytes(event.digest));
            assert_eq!(differences(&read(&log), &read(&good)).len(), 1);
        }
    }
}

#[test]
fn every_register_flipped_differs_alone() {
    let log = Log::boot();
    for register in 0..4 {
        for bit in [0, 17, 383] {
            let mut rtmrs = log.registers();
            rtmrs[register][bit / 8] ^= 1 << (bit % 8);
            assert_eq!(differing(&log, &rtmrs), [(Register::RUNTIME[register], vec![])]);
        }
    }
}

#[test]
fn altered_text_is_named_where_the_digest_is_over_it() {
    let good = Log::boot();
    for (index, event) in good.events.iter().enumerate() {
        let mut log = good.clone();
        // The last byte but one is text, a value or a table in each of them.
        let at = event.data.len() - 2;
        log.events[index].data[at] ^= 1;
        let replay = read(&log);
        let check = &replay.events[index].data;
        match read(&good).events[index].data {
            DataCheck::Matches => {
                assert!(matches!(check, DataCheck::Contradicts { .. }), "event {}: {check:?}", index + 1);
                assert_eq!(replay.contradictions().map(|event| event.index).collect::<Vec<_>>(), [index + 1]);
            }
            DataCheck::Unverifiable => assert_eq!(*check, DataCheck::Unverifiable),
            DataCheck::NotMeasured => assert_eq!(*check, DataCheck::NotMeasured),
            DataCheck::Contradicts { .. } => panic!("event {} of the good log contradicts itself", index + 1),
        }
        // Text is not measured: the registers are as before.
        assert_eq!(differing(&log, &good.registers()), []);
    }
}

#[test]
fn an_event_that_was_added_is_named() {
    let good = Log::boot();
    for index in 1..=good.events.len() {
        let mut log = good.clone();
        log.events.insert(index, Event::new(2, kind::ACTION, b"nothing to see"));
        let differing = differing(&log, &good.registers());
        let is_last = read(&log).measured_into(Register::Rtmr1).last().unwrap().index == index + 1;
        let reason = if is_last { Reason::FirstNotMeasured } else { Reason::Added };
        assert_eq!(differing, [(Register::Rtmr1, vec![(index + 1, reason)])]);
        let difference = first_difference(&read(&log), &read(&good)).unwrap();
        assert_eq!(difference.got.unwrap().name, "nothing to see");
        assert_eq!(difference.expected.is_none(), is_last);
    }
}

#[test]
fn events_that_were_swapped_are_named() {
    let good = Log::boot();
    let mut log = good.clone();
    log.events.swap(4, 5);
    assert_eq!(differing(&log, &good.registers()), [(Register::Rtmr0, vec![(5, Reason::Swapped)])]);
    // Events of different registers may be in any order.
    let mut log = good.clone();
    log.events.swap(14, 15);
    assert_eq!(differing(&log, &good.registers()), []);
    assert_eq!(first_difference(&read(&log), &read(&good)), None);
}

#[test]
fn a_log_that_goes_on_after_the_quote_says_where() {
    let log = Log::boot();
    let mut early = log.clone();
    early.events.truncate(19);
    let differing = differing(&log, &early.registers());
    assert_eq!(
        differing,
        [
            (Register::Rtmr1, vec![(23, Reason::FirstNotMeasured)]),
            (Register::Rtmr2, vec![(20, Reason::FirstNotMeasured)]),
        ]
    );
}

#[test]
fn an_event_that_was_removed_is_told_by_a_known_good_log_only() {
    let good = Log::boot();
    let mut log = good.clone();
    let removed = log.events.remove(5);
    assert_eq!(differing(&log, &good.registers()), [(Register::Rtmr0, vec![])]);
    let difference = first_difference(&read(&log), &read(&good)).unwrap();
    assert_eq!((difference.register, difference.place), (Register::Rtmr0, 4));
    let expected = difference.expected.unwrap();
    assert_eq!((expected.name.as_str(), expected.digest), ("PK", Measurement::from_bytes(removed.digest)));
    assert_eq!(difference.got.unwrap().name, "KEK");

    // At the end of a register nothing came.
    let mut log = good.clone();
    log.events.pop();
    let difference = first_difference(&read(&log), &read(&good)).unwrap();
    assert_eq!(difference.expected.unwrap().name, "Exit Boot Services Returned with Success");
    assert_eq!(difference.got, None);
}

#[test]
fn the_first_difference_is_that_of_the_log() {
    let good = Log::boot();
    let mut log = good.clone();
    log.events[19].digest[0] ^= 1; // RTMR2
    log.events[10].digest[0] ^= 1; // RTMR0
    let (log, good) = (read(&log), read(&good));
    let places: Vec<_> = differences(&log, &good).into_iter().map(|d| (d.register, d.got.unwrap().event)).collect();
    assert_eq!(places, [(Register::Rtmr0, 11), (Register::Rtmr2, 20)]);
    assert_eq!(first_difference(&log, &good).unwrap().register, Register::Rtmr0);
    assert_eq!(first_difference(&good, &good), None);
}

#[test]
fn altered_digest_and_text_together_are_an_ordinary_difference() {
    // Whoever alters both makes a log that is consistent and does not match.
    let good = Log::boot();
    let mut log = good.clone();
    log.events[4] = Event::variable(1, kind::VARIABLE_DRIVER_CONFIG, "SecureBoot", &[0]);
    assert_eq!(read(&log).contradictions().count(), 0);
    assert_eq!(differing(&log, &good.registers()), [(Register::Rtmr0, vec![])]);
    let difference = first_difference(&read(&log), &read(&good)).unwrap();
    assert_eq!(difference.expected.unwrap().description, "SecureBoot: 01");
    assert_eq!(difference.got.unwrap().description, "SecureBoot: 00");
}

#[test]
fn a_register_with_very_many_events_is_not_searched() {
    let events = |count: usize| (0..count).map(|n| Event::new(3, kind::ACTION, format!("{n}").as_bytes())).collect();
    for (count, found) in [(SEARCHED_EVENTS, 1), (SEARCHED_EVENTS + 1, 0)] {
        let log = Log::new(events(count));
        let mut fewer = log.clone();
        fewer.events.remove(7);
        let differing = differing(&log, &fewer.registers());
        assert_eq!(differing[0].1.len(), found, "{count} events");
    }
}

#[test]
fn single_events_are_held_against_expected_digests() {
    let log = read(&Log::boot());
    let digest = |bytes: &[u8]| Measurement::from_bytes(sha384(bytes));
    let expect = |register, name: &str, accepted: &[Measurement]| ReferenceEvent {
        register,
        name: name.to_owned(),
        accepted: accepted.to_vec(),
    };
    let secure_boot = digest(&variable("SecureBoot", &[1]));
    let kernel = digest(b"a kernel");
    let outcomes = check_named(
        &log,
        &[
            expect(Register::Rtmr0, "SecureBoot", &[secure_boot]),
            expect(Register::Rtmr2, "/vmlinuz", &[digest(b"another kernel"), kernel]),
            expect(Register::Rtmr2, "/vmlinuz", &[digest(b"another kernel")]),
            expect(Register::Rtmr2, "/vmlinuz", &[]),
            expect(Register::Rtmr1, "/vmlinuz", &[kernel]),
            expect(Register::Rtmr2, "/vmlinux", &[kernel]),
            expect(Register::Mrtd, "StartupLocality", &[kernel]),
            expect(Register::Rtmr0, "db", &[digest(&variable("db", &[5; 1800]))]),
        ],
    );
    let authority = digest(&variable("db", &[5; 900]));
    assert_eq!(
        outcomes,
        [
            NamedOutcome::Holds { events: vec![5] },
            NamedOutcome::Holds { events: vec![20] },
            NamedOutcome::Differs { event: 20, digest: kernel },
            NamedOutcome::Differs { event: 20, digest: kernel },
            NamedOutcome::Absent,
            NamedOutcome::Absent,
            NamedOutcome::Absent,
            // Two events have that name, the variable and the certificate that was used: both must be expected.
            NamedOutcome::Differs { event: 15, digest: authority },
        ]
    );
}

fn explained(replay: &Replay, rtmrs: Option<&[[u8; 48]; 4]>, expect: Expect) {
    let mut text = String::new();
    for section in explain(replay, rtmrs) {
        text.push_str(&format!("{} {}\n", section.title, section.verdict.name()));
        for claim in &section.claims {
            text.push_str(&format!("  {}: {}\n", claim.name, claim.value));
        }
        for problem in &section.problems {
            text.push_str(&format!("  ! {}: {}\n", problem.code, problem.message));
            text.push_str(&problem.hint.as_ref().map_or_else(String::new, |hint| format!("    {hint}\n")));
        }
    }
    expect.assert_eq(&text);
}

#[test]
fn an_explanation_names_what_differs() {
    let good = Log::boot();
    let mut log = good.clone();
    log.events[20].digest[0] ^= 1;
    log.events.remove(9);
    log.events.push(Event::separator(4));
    let mut rtmrs = good.registers();
    rtmrs[3] = [7; 48];
    explained(
        &read(&log),
        Some(&rtmrs),
        expect![[r#"
        event log refused
          vendor: testkit
          events: 24
          bound to their data: 16
          labels only: 6
          ! ccel-data-contradicts: event 20 (RTMR2, EV_IPL, kernel_cmdline): its data are not what was measured
            text or digest of that event were altered after it was logged
        RTMR0 refused
          replayed: e19aec6ccb6e
          reported: 41e01397acd5
          2 EV_EFI_HANDOFF_TABLES2: TdxTable (label)
          3 EV_EFI_PLATFORM_FIRMWARE_BLOB2: BFV: OVMF.fd: 0 bytes at 0x0 (label)
          4 EV_S_CRTM_VERSION: firmware version: edk2-stable
          5 EV_EFI_VARIABLE_DRIVER_CONFIG: SecureBoot: 01
          6 EV_EFI_VARIABLE_DRIVER_CONFIG: PK: 900 bytes
          7 EV_EFI_VARIABLE_DRIVER_CONFIG: KEK: 900 bytes
          8 EV_EFI_VARIABLE_DRIVER_CONFIG: db: 1800 bytes
          9 EV_EFI_VARIABLE_DRIVER_CONFIG: dbx: 64 bytes
          10 EV_PLATFORM_CONFIG_FLAGS: ACPI DATA (label)
          11 EV_EFI_VARIABLE_BOOT: BootOrder: 00000100
          12 EV_EFI_VARIABLE_BOOT: Boot0000: UEFI Disk
          14 EV_EFI_VARIABLE_AUTHORITY: db: 900 bytes
          ! ccel-register-differs: RTMR0: 41e01397acd5, the log gives e19aec6ccb6e
            no single event explains it: the log is another guest's, or something was measured after it ended; compare it with a log that is known to be good
        RTMR1 verified
          replayed: 8d40e7c7152c
          13 EV_EFI_ACTION: Calling EFI Application from Boot Option
          15 EV_SEPARATOR: separator: 0
          16 EV_EFI_GPT_EVENT: partition table: 2 partitions
          17 EV_EFI_BOOT_SERVICES_APPLICATION: \EFI\BOOT\BOOTX64.EFI, 13 bytes (label)
          22 EV_EFI_ACTION: Exit Boot Services Invocation
          23 EV_EFI_ACTION: Exit Boot Services Returned with Success
        RTMR2 refused
          replayed: 150cd98d073f
          reported: 49a67033e521
          18 EV_IPL: grub_cmd: linux /vmlinuz root=/dev/vda1
          19 EV_IPL: /vmlinuz (label)
          20 EV_IPL: kernel_cmdline: /vmlinuz root=/dev/vda1 console=hvc0
          21 EV_EVENT_TAG: Linux initrd (0x8f3b22ec) (label)
          ! ccel-register-differs: RTMR2: 49a67033e521, the log gives 150cd98d073f
          ! ccel-event: event 20 (RTMR2, EV_IPL, kernel_cmdline): its digest was altered: with the digest of its data the register is as reported
        RTMR3 refused
          replayed: 518923b0f955
          reported: 070707070707
          24 EV_SEPARATOR: separator: 0
          ! ccel-register-differs: RTMR3: 070707070707, the log gives 518923b0f955
            no single event explains it: the log is another guest's, or something was measured after it ended; compare it with a log that is known to be good
    "#]],
    );
    explained(
        &read(&Log::new(vec![])),
        None,
        expect![[r#"
        event log noted
          vendor: testkit
          events: 0
          bound to their data: 0
          labels only: 0
        RTMR0 noted
          replayed: 000000000000
        RTMR1 noted
          replayed: 000000000000
        RTMR2 noted
          replayed: 000000000000
        RTMR3 noted
          replayed: 000000000000
    "#]],
    );
    explained(
        &read(&Log::new(vec![])),
        Some(&[[7; 48], [0; 48], [0; 48], [0; 48]]),
        expect![[r#"
            event log noted
              vendor: testkit
              events: 0
              bound to their data: 0
              labels only: 0
            RTMR0 could not tell
              replayed: 000000000000
              reported: 070707070707
              ! ccel-register-not-logged: RTMR0: 070707070707, the log gives 000000000000
                the log has no event for this register: what was measured into it was measured after the firmware's log ended, or the log is another guest's
            RTMR1 verified
              replayed: 000000000000
            RTMR2 verified
              replayed: 000000000000
            RTMR3 verified
              replayed: 000000000000
        "#]],
    );
}

/// The log of the corpus was written by td-shim. Neither quote of the corpus is of that guest.
#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_ccel_says_what_was_booted() {
    let bytes = testkit::corpus::file("tdx/CCEL_data");
    let log = replay(&bytes).unwrap();
    assert_eq!((log.spec.vendor.as_str(), log.spec.algorithms.as_slice()), ("td-shim", &[(12, 48)][..]));
    expect![[r#"
        1 RTMR0 EV_PLATFORM_CONFIG_FLAGS [bound] td_hob: td_hob: 5248 bytes
        2 RTMR0 EV_SEPARATOR [bound] separator: separator: 0
        3 RTMR1 EV_SEPARATOR [bound] separator: separator: 0
        4 RTMR1 EV_EFI_PLATFORM_FIRMWARE_BLOB2 [label] td_payload: td_payload: 268435456 bytes at 0x901000
        5 RTMR1 EV_PLATFORM_CONFIG_FLAGS [bound] td_payload_info: td_payload_info: root=/dev/vda1 console=hvc0 rw
    "#]]
    .assert_eq(&table(&log));
    expect![[r#"
        2dc712306a963eadb894ad47dbaa17df44814151555aee11cbb843becca88950ffd079664902e6f22c66f7c8213543f4
        0fa3be56af61208bbd179dc7b124988eb929319154663c539d6f46445ecac2fec287075047ff7bd1922829fec28cd3cf
        000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
        000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    "#]]
    .assert_eq(&log.registers.map(|register| format!("{register}\n")).concat());

    // Every event that td-shim and the firmware profile bind to its data: altered text is named.
    for event in &log.events {
        let needle: &[u8] = match event.name.as_str() {
            "td_payload_info" => b"root=/dev/vda1",
            "td_hob" => b"CLOUDHCHDSDT",
            _ => continue,
        };
        let mut altered = bytes.clone();
        let at = altered.windows(needle.len()).position(|window| window == needle).unwrap();
        altered[at] ^= 1;
        let altered = replay(&altered).unwrap();
        assert_eq!(altered.contradictions().map(|event| event.index).collect::<Vec<_>>(), [event.index]);
        assert_eq!(altered.registers, log.registers);
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_ccel_belongs_to_neither_quote() {
    let log = replay(&testkit::corpus::file("tdx/CCEL_data")).unwrap();
    // RTMR0 to 3 are at byte 328 of a TD report (Intel DCAP quoting library, `sgx_report2_body_t`); it follows the quote's
    // header of 48 bytes, in version 5 also the type and size of the body, 6 bytes.
    for (file, report) in [("tdx/tdx_quote_4.dat", 48), ("tdx/tdx_quote_5.dat", 54)] {
        let quote = testkit::corpus::file(file);
        let rtmrs: [[u8; 48]; 4] =
            std::array::from_fn(|register| quote[report + 328 + 48 * register..][..48].try_into().unwrap());
        let outcomes = compare(&log, &rtmrs);
        for (register, outcome) in &outcomes[..2] {
            let RegisterOutcome::Differs { candidates, .. } = outcome else { panic!("{file}, {register} matches") };
            assert_eq!(candidates, &[], "{file}, {register}");
        }
        // Nothing was measured into these in any of the three.
        for (register, outcome) in &outcomes[2..] {
            assert_eq!(*outcome, RegisterOutcome::Matches, "{file}, {register}");
        }
    }
}

#[test]
fn a_file_with_a_log_is_told_as_one() {
    use verifier::input::{Input, read};
    let log = Log::boot().build();
    assert_eq!(read(&log), Ok(Input::EventLog(log.clone())));
}
