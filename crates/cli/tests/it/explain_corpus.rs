//! Genuine Evidence at a fixed time, explained: the very words, for every kind. The files are other people's and are not in
//! this repository; `cargo xtask evidence` fetches them.

use expect_test::{Expect, expect};

use super::casemate;

/// Explains files of the corpus, offline, and compares the whole output.
fn check(files: &[&str], arguments: &[&str], expected: Expect) {
    let corpus = testkit::corpus::folder().expect("$CASEMATE_EVIDENCE names the corpus");
    let dir = tempfile::tempdir().expect("a folder");
    for file in files {
        std::fs::write(dir.path().join(file.rsplit('/').next().expect("a name")), testkit::corpus::file(file))
            .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    }
    let names: Vec<&str> = files.iter().filter_map(|file| file.rsplit('/').next()).collect();
    let text = casemate(dir.path(), &[&["explain"], &names[..], arguments].concat());
    expected.assert_eq(&text);
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_snp_report_with_its_vcek() {
    check(
        &["snp/test-report.bin", "snp/test-vcek.der", "snp/milan_ask_ark_asvk.pem"],
        &["--at", "2025-06-01"],
        expect![[r#"
            exit 2
            --- stdout
            SEV-SNP report, version 2: could not tell (revocation)
              judged as of 2025-06-01T00:00:00Z
              with 4 Endorsements from files
              compared with no reference values: name some with `--manifest` or `--reference-values`

              report        verified        measurement a1f393041324; host data 000000000000; vmpl 0
              signing key   verified        key VCEK, the chip's own; product Milan; chip id c38427a30d4c;
                                            endorsed by SEV-Milan < ARK-Milan
              chain         verified        certificates SEV-VCEK, SEV-Milan, ARK-Milan
              revocation    could not tell  1. revocation: certificate `SEV-Milan`: no revocation list by
                                               `ARK-Milan` is at hand
              tcb           noted           reported bootloader 3, tee 0, snp 8, microcode 115
              guest policy  noted           debug no
              platform      noted           smt yes; tsme no; ecc no
              binding       noted           report data ec6c52d7533c
                                            2. not compared: the report data to expect was not given

            29 of 42 claims are not shown: `--all` shows them

            hint: fetch the current list with `casemate endorsements fetch` (1)
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_snp_report_with_its_vlek() {
    check(
        &["snp/test-vlek-report.bin", "snp/test-vlek.der", "snp/milan_ask_ark_asvk.pem"],
        &["--at", "2025-06-01"],
        expect![[r#"
            exit 2
            --- stdout
            SEV-SNP report, version 3: could not tell (revocation)
              judged as of 2025-06-01T00:00:00Z
              with 4 Endorsements from files
              compared with no reference values: name some with `--manifest` or `--reference-values`

              report        verified        measurement 8922ebbdd00e; host data 000000000000; vmpl 1
              signing key   verified        key VLEK, the cloud provider's; product Milan; chip id masked;
                                            endorsed by SEV-VLEK-Milan < ARK-Milan
              chain         verified        certificates SEV-VLEK, SEV-VLEK-Milan, ARK-Milan
              revocation    could not tell  1. revocation: certificate `SEV-VLEK-Milan`: no revocation list by
                                               `ARK-Milan` is at hand
              tcb           noted           reported bootloader 4, tee 0, snp 24, microcode 217
              guest policy  noted           debug no
              platform      noted           smt yes; tsme yes; ecc yes
              binding       noted           report data 819770b7e6ea
                                            2. not compared: the report data to expect was not given

            31 of 44 claims are not shown: `--all` shows them

            hint: fetch the current list with `casemate endorsements fetch` (1)
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_snp_report_with_the_vcek_of_another_chip() {
    check(
        &["snp/test-report.bin", "snp/test-vcek-invalid-legacy.der"],
        &["--at", "2025-06-01"],
        expect![[r#"
        exit 1
        --- stdout
        SEV-SNP report, version 2: refused (chain)
          judged as of 2025-06-01T00:00:00Z
          with 1 Endorsement from files
          compared with no reference values: name some with `--manifest` or `--reference-values`

          report        verified        measurement a1f393041324; host data 000000000000; vmpl 0
          signing key   could not tell  key VCEK, the chip's own; product Milan; chip id c38427a30d4c
                                        1. SEV-SNP evidence: no vcek certificate at hand is of this report's
                                           key: chip_id is c38427a30d4c, certified is 000102030405;
                                           reported_tcb.snp is 8, certified is 10; reported_tcb.microcode is
                                           115, certified is 169
                                        2. not judged: it needs chip_key
          chain         refused         certificates SEV-VCEK
                                        3. chain of certificates: certificate `SEV-VCEK`: its signature is
                                           not by `SEV-Milan`
          revocation    could not tell  4. not judged: it needs chain
          tcb           noted           reported bootloader 3, tee 0, snp 8, microcode 115
          guest policy  noted           debug no
          platform      noted           smt yes; tsme no; ecc no
          binding       noted           report data ec6c52d7533c
                                        5. not compared: the report data to expect was not given

        28 of 41 claims are not shown: `--all` shows them

        hint: fetch the certificate of this report's key with `casemate endorsements fetch`; a host that
              changed its firmware or its reported TCB has another key than before (1)
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_tdx_quote_of_version_4() {
    check(
        &["tdx/tdx_quote_4.dat"],
        &["--at", "2025-06-01"],
        expect![[r#"
        exit 1
        --- stdout
        TDX quote, version 4: refused (debug)
          judged as of 2025-06-01T00:00:00Z
          compared with no reference values: name some with `--manifest` or `--reference-values`

          td               verified        mrtd 705ee9381b86; rtmr0 e940da7c2712; rtmr1 559cfcf42716;
                                           rtmr2 000000000000; rtmr3 000000000000;
                                           mr_config_id 000000000000; report_data 7c71fe2c86ef; debug yes;
                                           endorsed by the attestation key of the quoting enclave
          quoting enclave  could not tell  mrenclave 853e298f3b7c; mrsigner dc9e2a7c6f94; product_id 2;
                                           svn 4; endorsed by the PCK, and Intel's QE identity
                                           1. Intel's identity of the quoting enclave for tdx is not at hand
          pck chain        verified        platform_instance_id 021ac64d355b; fmspc 50806f000000;
                                           endorsed by Intel SGX Root CA
          revocation       could not tell  endorsed by Intel's revocation lists
                                           2. revocation: certificate `Intel SGX PCK Certificate`: no
                                              revocation list by `Intel SGX PCK Platform CA` is at hand
          tcb              could not tell  endorsed by Intel SGX TCB Signing
                                           3. Intel's TCB info for tdx of platform family 50806f000000 is
                                              not at hand
          binding          noted           4. not compared: the report data to expect was not given
          debug            refused         5. its host may read and write its memory: no reference value
                                              accepts that

        17 of 31 claims are not shown: `--all` shows them

        hint: fetch it with `casemate endorsements fetch`, or import a bundle that has it (1, 3)
        hint: fetch the current list with `casemate endorsements fetch` (2)
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_tdx_quote_of_version_5_whole() {
    check(
        &["tdx/tdx_quote_5.dat"],
        &["--at", "2025-06-01", "--all"],
        expect![[r#"
        exit 2
        --- stdout
        TDX quote, version 5: could not tell (quoting enclave, revocation, tcb)
          judged as of 2025-06-01T00:00:00Z
          compared with no reference values: name some with `--manifest` or `--reference-values`

          td               verified        endorsed by the attestation key of the quoting enclave
                                           mrtd             dfba221b48a2
                                           rtmr0            9b529f3689e2
                                           rtmr1            ca5a979317ff
                                           rtmr2            000000000000
                                           rtmr3            000000000000
                                           mr_config_id     000000000000
                                           report_data      6d6ab13b046c
                                           td_attributes    000000100000
                                           debug            no
                                           xfam             e74206000000
                                           mr_owner         000000000000
                                           mr_owner_config  000000000000
                                           mr_service_td    383c87d3bbb0
                                           mrseam           1cc6a17ab799
                                           mr_signer_seam   000000000000
                                           seam_attributes  000000000000
                                           tee_tcb_svn      050102000000
                                           tee_tcb_svn_2    050102000000
          quoting enclave  could not tell  endorsed by the PCK, and Intel's QE identity
                                           mrenclave   e5a3a7b5d830
                                           mrsigner    dc9e2a7c6f94
                                           product_id  2
                                           svn         6
                                           attributes  150000000000
                                           1. Intel's identity of the quoting enclave for tdx is not at hand
          pck chain        verified        endorsed by Intel SGX Root CA
                                           platform_instance_id  6a9ea3b8d9e7
                                           fmspc                 90c06f000000
                                           pce_id                0000
                                           ppid                  f06984c8d934
                                           components            010102020301
                                           pce_svn               13
                                           authority             platform
                                           dynamic_platform      yes
                                           cached_keys           yes
                                           smt_enabled           yes
          revocation       could not tell  endorsed by Intel's revocation lists
                                           2. revocation: certificate `Intel SGX PCK Certificate`: no
                                              revocation list by `Intel SGX PCK Platform CA` is at hand
          tcb              could not tell  endorsed by Intel SGX TCB Signing
                                           3. Intel's TCB info for tdx of platform family 90c06f000000 is
                                              not at hand
          binding          noted           4. not compared: the report data to expect was not given

        hint: fetch it with `casemate endorsements fetch`, or import a bundle that has it (1, 3)
        hint: fetch the current list with `casemate endorsements fetch` (2)
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_tdx_quote_with_the_event_log_of_another_guest() {
    check(
        &["tdx/tdx_quote_4.dat", "tdx/CCEL_data"],
        &["--at", "2025-06-01"],
        expect![[r#"
        exit 1
        --- stdout
        TDX quote, version 4: refused (debug, RTMR0, RTMR1)
          judged as of 2025-06-01T00:00:00Z
          compared with no reference values: name some with `--manifest` or `--reference-values`

          td               verified        mrtd 705ee9381b86; rtmr0 e940da7c2712; rtmr1 559cfcf42716;
                                           rtmr2 000000000000; rtmr3 000000000000;
                                           mr_config_id 000000000000; report_data 7c71fe2c86ef; debug yes;
                                           endorsed by the attestation key of the quoting enclave
          quoting enclave  could not tell  mrenclave 853e298f3b7c; mrsigner dc9e2a7c6f94; product_id 2;
                                           svn 4; endorsed by the PCK, and Intel's QE identity
                                           1. Intel's identity of the quoting enclave for tdx is not at hand
          pck chain        verified        platform_instance_id 021ac64d355b; fmspc 50806f000000;
                                           endorsed by Intel SGX Root CA
          revocation       could not tell  endorsed by Intel's revocation lists
                                           2. revocation: certificate `Intel SGX PCK Certificate`: no
                                              revocation list by `Intel SGX PCK Platform CA` is at hand
          tcb              could not tell  endorsed by Intel SGX TCB Signing
                                           3. Intel's TCB info for tdx of platform family 50806f000000 is
                                              not at hand
          binding          noted           4. not compared: the report data to expect was not given
          debug            refused         5. its host may read and write its memory: no reference value
                                              accepts that
          event log        noted           events 5
          RTMR0            refused         replayed 2dc712306a96; reported e940da7c2712
                                           6. RTMR0: e940da7c2712, the log gives 2dc712306a96
          RTMR1            refused         replayed 0fa3be56af61; reported 559cfcf42716
                                           7. RTMR1: 559cfcf42716, the log gives 0fa3be56af61
          RTMR2            verified        replayed 000000000000
          RTMR3            verified        replayed 000000000000

        25 of 46 claims are not shown: `--all` shows them

        hint: fetch it with `casemate endorsements fetch`, or import a bundle that has it (1, 3)
        hint: fetch the current list with `casemate endorsements fetch` (2)
        hint: no single event explains it: the log is another guest's, or something was measured after it
              ended; compare it with a log that is known to be good (6, 7)
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_event_log_whole() {
    check(
        &["tdx/CCEL_data"],
        &["--all"],
        expect![[r#"
        exit 2
        --- stdout
        CCEL event log: nothing in it was judged

          event log  noted  vendor               td-shim
                            events               5
                            bound to their data  4
                            labels only          1
          RTMR0      noted  replayed                    2dc712306a96
                            1 EV_PLATFORM_CONFIG_FLAGS  td_hob: 5248 bytes
                            2 EV_SEPARATOR              separator: 0
          RTMR1      noted  replayed                          0fa3be56af61
                            3 EV_SEPARATOR                    separator: 0
                            4 EV_EFI_PLATFORM_FIRMWARE_BLOB2  td_payload: 268435456 bytes at 0x901000
                                                              (label)
                            5 EV_PLATFORM_CONFIG_FLAGS        td_payload_info: root=/dev/vda1 console=hvc0
                                                              rw
          RTMR2      noted  replayed  000000000000
          RTMR3      noted  replayed  000000000000
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_tcb_info_in_its_time() {
    check(
        &["tdx/tcbInfo.json"],
        &["--at", "2025-11-01"],
        expect![[r#"
        exit 2
        --- stdout
        TCB info: could not tell (tcb info)
          judged as of 2025-11-01T00:00:00Z

          tcb info  could not tell  next_update 2025-11-26T13:07:17Z; fmspc 00a06d080000;
                                    endorsed by Intel SGX TCB Signing
                                    quote of an Intel TEE: TCB info: not signed by any `Intel SGX TCB
                                    Signing` certificate at hand

        15 of 17 claims are not shown: `--all` shows them

        hint: fetch it and its signer's chain with `casemate endorsements fetch`
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_sgx_quote() {
    check(
        &["sgx/occlum_quote.dat"],
        &["--at", "2025-06-01"],
        expect![[r#"
        exit 1
        --- stdout
        SGX quote, version 3: refused (debug)
          judged as of 2025-06-01T00:00:00Z
          compared with no reference values: name some with `--manifest` or `--reference-values`

          enclave          verified        mrenclave 8f173e4613ff; mrsigner 83d719e77dea; product_id 0;
                                           svn 0; config_id 000000000000; report_data 746573740000;
                                           debug yes; endorsed by the attestation key of the quoting enclave
          quoting enclave  could not tell  mrenclave 8ce58685be36; mrsigner 8c4f5775d796; product_id 1;
                                           svn 8; endorsed by the PCK, and Intel's QE identity
                                           1. Intel's identity of the quoting enclave for sgx is not at hand
          pck chain        verified        platform_instance_id c8c0cfb23d3d; fmspc 00606a000000;
                                           endorsed by Intel SGX Root CA
          revocation       could not tell  endorsed by Intel's revocation lists
                                           2. revocation: certificate `Intel SGX PCK Certificate`: no
                                              revocation list by `Intel SGX PCK Platform CA` is at hand
          tcb              could not tell  endorsed by Intel SGX TCB Signing
                                           3. Intel's TCB info for sgx of platform family 00606a000000 is
                                              not at hand
          binding          noted           4. not compared: the report data to expect was not given
          debug            refused         5. its host may read and write its memory: no reference value
                                              accepts that

        13 of 26 claims are not shown: `--all` shows them

        hint: fetch it with `casemate endorsements fetch`, or import a bundle that has it (1, 3)
        hint: fetch the current list with `casemate endorsements fetch` (2)
        --- stderr
    "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_gpu_report_with_its_vbios_manifest() {
    check(
        &[
            "nvidia/gh100_535.86.09_report.txt",
            "nvidia/gh100_535.86.09_chain.txt",
            "nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag",
        ],
        &["--at", "2024-06-01"],
        expect![[r#"
            exit 2
            --- stdout
            report of a gpu: could not tell (firmware)
              judged as of 2024-06-01T00:00:00Z
              with 1 Endorsement from files
              compared with no reference values: name some with `--manifest` or `--reference-values`

              report       verified        driver version 535.86.09; vbios version 96.00.5E.00.01; mode unstated
              device key   verified        model GH100 A01 GSP BROM; pdi 6a5fafcbd9fa; key 1fd849b2cbfa;
                                           endorsed by GH100 A01 GSP BROM
              chain        verified        certificates GH100 A01 GSP FMC LF, GH100 A01 GSP BROM, NVIDIA GH100
                                             Provisioner ICA 1, NVIDIA GH100 Identity and 1 more
              revocation   noted           1. NVIDIA's word on these certificates is not at hand
              firmware id  noted           reported none
                                           2. the report does not name its firmware, so it could not be compared
                                              with the certificate
              freshness    noted           nonce 27a328247bf7
              firmware     could not tell  measurements compared 12
                                           3. not judged: it needs driver_rim
                                           4. NVIDIA's manifest `NV_GPU_DRIVER_GH100_535.86.09` is not at hand

            17 of 27 claims are not shown: `--all` shows them

            hint: fetch it with `casemate endorsements fetch`; reference values say whether it is needed (1)
            hint: GPU drivers from the 550 series on report it; reference values say whether it is needed (2)
            hint: fetch it with `casemate endorsements fetch`, or import a bundle that has it (4)
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_switch_report_with_its_manifest() {
    check(
        &["nvidia/ls10_report.txt", "nvidia/ls10_chain.txt", "nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"],
        &["--at", "2026-06-01"],
        expect![[r#"
            exit 0
            --- stdout
            report of a switch: verified
              judged as of 2026-06-01T00:00:00Z
              with 1 Endorsement from files
              compared with no reference values: name some with `--manifest` or `--reference-values`

              report       verified  firmware version 96.10.55.00.01; pdi 203eb31ad9ed
              device key   verified  model LS_10 A01 FSP BROM; pdi 203eb31ad9ed; key 6cc961768170;
                                     endorsed by LS_10 A01 FSP BROM
              chain        verified  certificates LS_10 A01 FSP FMC LF, LS_10 A01 FSP BROM, NVIDIA LS_10
                                       Provisioner ICA 1, NVIDIA GH100 Identity and 1 more
              revocation   noted     1. NVIDIA's word on these certificates is not at hand
              firmware id  noted     reported none
                                     2. the report does not name its firmware, so it could not be compared with
                                        the certificate
              freshness    noted     nonce 931d8dd0add2
              firmware     verified  measurements compared 31

            12 of 21 claims are not shown: `--all` shows them

            hint: fetch it with `casemate endorsements fetch`; reference values say whether it is needed (1)
            hint: GPU drivers from the 550 series on report it; reference values say whether it is needed (2)
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_gpu_report_with_a_wrong_signature() {
    check(
        &["nvidia/gh100_invalid_signature_report.txt", "nvidia/hopper_cert_chain_case1.txt"],
        &["--at", "2025-06-01"],
        expect![[r#"
            exit 1
            --- stdout
            report of a gpu: refused (device key, firmware id)
              judged as of 2025-06-01T00:00:00Z
              compared with no reference values: name some with `--manifest` or `--reference-values`

              report       verified        driver version 560.00; vbios version 96.00.A5.00.01; mode unstated
              device key   refused         model GH100 A01 GSP BROM; pdi 431d480fe5e8; key 46db7f5ca98c;
                                           endorsed by GH100 A01 GSP BROM
                                           1. device evidence: the report's signature is not by `GH100 A01 GSP
                                              FMC LF`
              chain        verified        certificates GH100 A01 GSP FMC LF, GH100 A01 GSP BROM, NVIDIA GH100
                                             Provisioner ICA 1, NVIDIA GH100 Identity and 1 more
              revocation   noted           2. NVIDIA's word on these certificates is not at hand
              firmware id  refused         reported 87a829120716
                                           3. device evidence: firmware id is 87a829120716, the device
                                              certificate was issued to f5c384aebb57
              freshness    noted           nonce 931d8dd0add2
              firmware     could not tell  measurements compared 0
                                           4. not judged: it needs driver_rim
                                           5. NVIDIA's manifest `NV_GPU_DRIVER_GH100_560.00` is not at hand
                                           6. NVIDIA's manifest `NV_GPU_VBIOS_G520_0200_885_9600A50001` is not
                                              at hand

            14 of 24 claims are not shown: `--all` shows them

            hint: fetch it with `casemate endorsements fetch`; reference values say whether it is needed (2)
            hint: the device's firmware was changed after its certificate was made; fetch its chain again, or
                  reset it (3)
            hint: fetch it with `casemate endorsements fetch`, or import a bundle that has it (5, 6)
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_gpu_report_with_a_broken_chain() {
    check(
        &["nvidia/hopperAttestationReport.txt", "nvidia/hopper_cert_chain_case2.txt"],
        &["--at", "2025-06-01"],
        expect![[r#"
            exit 1
            --- stdout
            report of a gpu: refused (chain)
              judged as of 2025-06-01T00:00:00Z
              with 1 Endorsement from files
              compared with no reference values: name some with `--manifest` or `--reference-values`

              report       verified        driver version 550.90.07; vbios version 96.00.9F.00.01; mode unstated
              device key   could not tell  1. not judged: it needs chain
                                           2. not judged: it needs chain
              chain        refused         certificates none
                                           3. chain of certificates: certificate `device chain`: not PEM: there
                                              is no certificate in it
              revocation   noted           4. NVIDIA's word on these certificates is not at hand
              firmware id  could not tell  reported f5c384aebb57
                                           5. not judged: it needs identity
              freshness    noted           nonce 931d8dd0add2
              firmware     could not tell  measurements compared 0
                                           6. not judged: it needs identity
                                           7. not judged: it needs identity
                                           8. not judged: it needs identity

            12 of 19 claims are not shown: `--all` shows them

            hint: fetch it with `casemate endorsements fetch`; reference values say whether it is needed (4)
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_driver_manifest() {
    check(
        &["nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml"],
        &["--at", "2026-06-01"],
        expect![[r#"
            exit 0
            --- stdout
            RIM of GH100 550.144.03: verified
              judged as of 2026-06-01T00:00:00Z

              rim         noted     product GH100; endorsed by HCC RIM L4 Signer
              signature   verified  key f9f2fbc5d32e; valid until 2026-12-30T16:56:50Z;
                                    endorsed by NVIDIA CoRIM signing Root CA
              revocation  noted     HCC RIM L4 Signer no OCSP response given;
                                    NVIDIA Reference Value L3 GH100 002 no OCSP response given;
                                    NVIDIA Reference Value GH100 CA no OCSP response given

            12 of 18 claims are not shown: `--all` shows them
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_driver_manifest_with_a_wrong_signature() {
    check(
        &["nvidia/driver_rim_incorrect_signature.xml"],
        &["--at", "2026-06-01"],
        expect![[r#"
            exit 1
            --- stdout
            RIM of GH100 550.144.03: refused (signature)
              judged as of 2026-06-01T00:00:00Z

              rim         noted    product GH100; endorsed by HCC RIM L4 Signer
              signature   refused  key f9f2fbc5d32e; valid until 2026-12-30T16:56:50Z;
                                   endorsed by NVIDIA CoRIM signing Root CA
                                   the signature is not by `HCC RIM L4 Signer`
              revocation  noted    HCC RIM L4 Signer no OCSP response given;
                                   NVIDIA Reference Value L3 GH100 002 no OCSP response given;
                                   NVIDIA Reference Value GH100 CA no OCSP response given

            11 of 17 claims are not shown: `--all` shows them

            hint: the file was changed after NVIDIA signed it: fetch it again
            --- stderr
        "#]],
    );
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_amds_certificates() {
    check(
        &["snp/milan_ask_ark_asvk.pem"],
        &["--at", "2025-06-01"],
        expect![[r#"
        exit 0
        --- stdout
        3 certificates: verified
          judged as of 2025-06-01T00:00:00Z
          with 3 Endorsements from files

          certificate 1  noted     subject SEV-Milan; issuer ARK-Milan; valid until 2045-10-22T18:24:20Z;
                                   key RSA
          certificate 2  noted     subject ARK-Milan; issuer ARK-Milan; valid until 2045-10-22T17:23:05Z;
                                   key RSA
          certificate 3  noted     subject SEV-VLEK-Milan; issuer ARK-Milan;
                                   valid until 2047-11-16T22:45:24Z; key RSA
          chain          verified  certificates SEV-Milan, ARK-Milan

        9 of 22 claims are not shown: `--all` shows them
        --- stderr
    "#]],
    );
}
