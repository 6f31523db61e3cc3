use std::io::Cursor as IoCursor;

use proptest::prelude::*;

use super::*;

const CHUNK: u32 = MIN_CHUNK;

fn key(fill: u8) -> ModelKey {
    ModelKey::from_text(&hex::encode([fill; 32])).unwrap()
}

fn plaintext(len: usize) -> Vec<u8> {
    // 251 is prime, so no two chunks are equal.
    (0..251_u8).cycle().take(len).collect()
}

fn sealed(plain: &[u8], key: &ModelKey) -> Vec<u8> {
    let mut out = Vec::new();
    let options = SealOptions { name: "digits".into(), chunk_size: CHUNK };
    seal(&mut &plain[..], plain.len() as u64, &mut out, key, &options).unwrap();
    out
}

/// Opens in both ways, which must agree in everything.
fn open_both(file: &[u8], key: &ModelKey) -> Result<(ModelInfo, Vec<u8>), SealedError> {
    let pure = |error| match error {
        StreamError::Sealed(error) => error,
        other => panic!("a slice does not fail: {other}"),
    };
    let mut streamed = Vec::new();
    let from_stream = open_stream(&mut IoCursor::new(file), &mut streamed, key, OpenLimits::default()).map_err(pure);
    for threads in [1, 3, 64] {
        let from_slice = open(file, key, OpenLimits::default(), threads).map_err(pure);
        match (&from_stream, from_slice) {
            (Ok(info), Ok(opened)) => {
                assert_eq!((info, streamed.as_slice()), (&opened.info, opened.plaintext.expose()));
            }
            // The whole file's length is known at once when it is no stream; so that error comes first.
            (Err(_), Err(SealedError::Truncated { .. } | SealedError::Appended { .. })) => {}
            (from_stream, from_slice) => assert_eq!(from_stream.as_ref().err(), from_slice.as_ref().err()),
        }
    }
    from_stream.map(|info| (info, streamed))
}

fn header_len() -> usize {
    FIXED_HEADER + "digits".len() + MAC
}

/// One sealed chunk of a file whose chunks are all full.
fn chunk_at(index: usize) -> std::ops::Range<usize> {
    let len = CHUNK as usize + TAG;
    header_len() + index * len..header_len() + (index + 1) * len
}

#[test]
fn what_was_sealed_opens() {
    for len in [1, 15, 16, 4095, 4096, 4097, 8192, 8193, 50_000] {
        let plain = plaintext(len);
        let file = sealed(&plain, &key(1));
        let (info, opened) = open_both(&file, &key(1)).unwrap();
        assert_eq!(opened, plain);
        assert_eq!(info.digest, Digest::of(&plain));
        assert_eq!((info.name.as_str(), info.bytes, info.sealed_bytes), ("digits", len as u64, file.len() as u64));
        assert_eq!(info.chunks, (len as u64).div_ceil(4096));
    }
}

#[test]
fn two_seals_of_one_model_share_nothing_but_the_name() {
    let plain = plaintext(5000);
    let (a, b) = (sealed(&plain, &key(1)), sealed(&plain, &key(1)));
    assert_ne!(a[header_len()..header_len() + 64], b[header_len()..header_len() + 64]);
}

#[test]
fn a_sealed_file_shows_neither_plaintext_nor_its_digest() {
    let plain = vec![0x41; 20_000];
    let file = sealed(&plain, &key(1));
    let digest = *Digest::of(&plain).as_bytes();
    for needle in [plain[..16].to_vec(), digest[..16].to_vec(), vec![1; 16]] {
        assert!(!file.windows(16).any(|window| window == needle));
    }
}

#[test]
fn another_key_is_named_as_such() {
    let file = sealed(&plaintext(5000), &key(1));
    assert_eq!(open_both(&file, &key(2)), Err(SealedError::WrongKey { file: key(1).id(), given: key(2).id() }));
}

#[test]
fn an_edited_header_is_refused_field_by_field() {
    let file = sealed(&plaintext(5000), &key(1));
    let edit = |at: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        open_both(&file, &key(1)).unwrap_err()
    };
    let malformed = |field| SealedError::Malformed { field };
    assert_eq!(edit(0, b"X"), SealedError::NotSealed);
    assert_eq!(edit(8, &[0, 2]), SealedError::Version { found: 2 });
    assert_eq!(edit(8, &[0, 0]), SealedError::Version { found: 0 });
    assert_eq!(edit(10, &[0, 0]), malformed("name length"));
    assert_eq!(edit(10, &[0, 127]), malformed("name length"));
    assert_eq!(edit(10, &[0xff, 0xff]), malformed("name length"));
    assert_eq!(edit(10, &[0, 5]), SealedError::HeaderAltered);
    assert_eq!(edit(12, &0_u32.to_be_bytes()), malformed("chunk size"));
    assert_eq!(edit(12, &1_u32.to_be_bytes()), malformed("chunk size"));
    assert_eq!(edit(12, &4097_u32.to_be_bytes()), malformed("chunk size"));
    assert_eq!(edit(12, &u32::MAX.to_be_bytes()), malformed("chunk size"));
    assert_eq!(edit(12, &(MAX_CHUNK * 2).to_be_bytes()), malformed("chunk size"));
    assert_eq!(edit(12, &8192_u32.to_be_bytes()), SealedError::HeaderAltered);
    assert_eq!(edit(16, &0_u64.to_be_bytes()), SealedError::Empty);
    assert_eq!(edit(16, &4999_u64.to_be_bytes()), SealedError::HeaderAltered);
    assert_eq!(edit(16, &MAX_PLAINTEXT.to_be_bytes()), SealedError::HeaderAltered);
    assert!(matches!(edit(16, &(MAX_PLAINTEXT + 1).to_be_bytes()), SealedError::TooLarge { .. }));
    assert!(matches!(edit(16, &u64::MAX.to_be_bytes()), SealedError::TooLarge { .. }));
    assert_eq!(edit(24, &[0; FILE_ID]), SealedError::HeaderAltered);
    assert!(matches!(edit(24 + FILE_ID, &[0; KeyId::LEN]), SealedError::WrongKey { .. }));
    assert_eq!(edit(FIXED_HEADER, b"D"), SealedError::HeaderAltered);
    assert_eq!(edit(FIXED_HEADER, b"/"), malformed("name"));
    assert_eq!(edit(FIXED_HEADER, b"."), malformed("name"));
    assert_eq!(edit(FIXED_HEADER, &[0xff]), malformed("name"));
    assert_eq!(edit(FIXED_HEADER, b"\n"), malformed("name"));
    assert_eq!(edit(FIXED_HEADER + 6, &[0; MAC]), SealedError::HeaderAltered);
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let file = sealed(&plaintext(9000), &key(1));
    // Every byte of header and trailer, and every 97th of the chunks.
    let places = (0..header_len() + 32)
        .chain((header_len()..file.len() - TRAILER).step_by(97))
        .chain(file.len() - TRAILER..file.len());
    for place in places {
        let mut file = file.clone();
        file[place] ^= 1 << (place % 8);
        assert!(open_both(&file, &key(1)).is_err(), "byte {place}");
    }
}

#[test]
fn an_altered_chunk_is_named_by_its_number() {
    let file = sealed(&plaintext(3 * 4096), &key(1));
    for index in 0..3 {
        let mut file = file.clone();
        file[chunk_at(index).start] ^= 1;
        assert_eq!(open_both(&file, &key(1)), Err(SealedError::Chunk { index: index as u64, count: 3 }));
        let mut file = file.clone();
        file[chunk_at(index).end - 1] ^= 1;
        assert!(open_both(&file, &key(1)).is_err());
    }
    let mut trailer = file.clone();
    *trailer.last_mut().unwrap() ^= 1;
    assert_eq!(open_both(&trailer, &key(1)), Err(SealedError::Trailer));
}

#[test]
fn chunks_in_another_order_are_refused() {
    let file = sealed(&plaintext(4 * 4096), &key(1));
    for (a, b) in [(0, 1), (0, 3), (2, 3), (1, 2)] {
        let mut file = file.clone();
        let first = file[chunk_at(a)].to_vec();
        let second = file[chunk_at(b)].to_vec();
        file[chunk_at(a)].copy_from_slice(&second);
        file[chunk_at(b)].copy_from_slice(&first);
        assert_eq!(open_both(&file, &key(1)), Err(SealedError::Chunk { index: a as u64, count: 4 }));
    }
}

#[test]
fn a_repeated_chunk_is_refused() {
    let file = sealed(&plaintext(4 * 4096), &key(1));
    let mut repeated = file.clone();
    let first = file[chunk_at(0)].to_vec();
    repeated[chunk_at(1)].copy_from_slice(&first);
    assert_eq!(open_both(&repeated, &key(1)), Err(SealedError::Chunk { index: 1, count: 4 }));
}

#[test]
fn a_chunk_left_out_or_put_in_is_refused() {
    let file = sealed(&plaintext(4 * 4096), &key(1));
    let mut shorter = file.clone();
    shorter.drain(chunk_at(1));
    assert!(matches!(open_both(&shorter, &key(1)), Err(SealedError::Chunk { index: 1, .. })));
    let mut longer = file.clone();
    let extra = file[chunk_at(1)].to_vec();
    longer.splice(chunk_at(1).end..chunk_at(1).end, extra);
    assert!(matches!(open_both(&longer, &key(1)), Err(SealedError::Chunk { index: 2, .. })));
}

#[test]
fn a_chunk_of_another_file_is_refused_even_under_the_same_key() {
    let plain = plaintext(3 * 4096);
    let (mut file, other) = (sealed(&plain, &key(1)), sealed(&plain, &key(1)));
    file[chunk_at(1)].copy_from_slice(&other[chunk_at(1)]);
    assert_eq!(open_both(&file, &key(1)), Err(SealedError::Chunk { index: 1, count: 3 }));
}

#[test]
fn a_trailer_or_header_of_another_file_is_refused() {
    let plain = plaintext(3 * 4096);
    let (file, other) = (sealed(&plain, &key(1)), sealed(&plain, &key(1)));
    let mut trailer = file.clone();
    let at = file.len() - TRAILER;
    trailer[at..].copy_from_slice(&other[at..]);
    assert_eq!(open_both(&trailer, &key(1)), Err(SealedError::Trailer));
    let mut header = file.clone();
    header[..header_len()].copy_from_slice(&other[..header_len()]);
    assert_eq!(open_both(&header, &key(1)), Err(SealedError::Chunk { index: 0, count: 3 }));
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let file = sealed(&plaintext(2 * 4096), &key(1));
    for len in (0..header_len() + 40).chain((header_len()..file.len()).step_by(61)).chain(file.len() - 60..file.len()) {
        let error = open_both(&file[..len], &key(1)).unwrap_err();
        if len < MAGIC.len() {
            assert_eq!(error, SealedError::NotSealed, "{len}");
        } else {
            assert!(matches!(error, SealedError::Truncated { got, .. } if got == len as u64), "{len}: {error:?}");
        }
    }
}

#[test]
fn a_file_cut_at_a_chunk_border_does_not_pass_for_a_shorter_one() {
    let file = sealed(&plaintext(3 * 4096), &key(1));
    let mut cut = file[..chunk_at(1).end].to_vec();
    cut.extend_from_slice(&file[file.len() - TRAILER..]);
    assert!(open_both(&cut, &key(1)).is_err());
}

#[test]
fn bytes_after_the_end_are_refused() {
    let file = sealed(&plaintext(5000), &key(1));
    for extra in [&b"\0"[..], &file] {
        let longer = [file.as_slice(), extra].concat();
        assert_eq!(open_both(&longer, &key(1)), Err(SealedError::Appended { expected: file.len() as u64 }));
    }
}

#[test]
fn a_lying_length_asks_for_no_memory() {
    // Only the key's holder can announce a length, so this announcement dies at the header's MAC.
    let mut file = sealed(&plaintext(5000), &key(1));
    file[16..24].copy_from_slice(&MAX_PLAINTEXT.to_be_bytes());
    assert_eq!(open_both(&file, &key(1)), Err(SealedError::HeaderAltered));
}

#[test]
fn a_model_beyond_the_callers_limit_is_refused_before_it_is_read() {
    let file = sealed(&plaintext(5000), &key(1));
    let limits = OpenLimits { max_plaintext: 4999 };
    let got = open(file.as_slice(), &key(1), limits, 2);
    assert!(matches!(got, Err(StreamError::Sealed(SealedError::TooLarge { value: 5000, max: 4999, .. }))), "{got:?}");
}

#[test]
fn a_digest_that_is_genuine_but_wrong_is_noticed() {
    // Nobody but the key's holder can make this file: whole chunks, a sealed digest, and they do not match.
    let (model_key, plain) = (key(1), plaintext(100));
    let mut file = sealed(&plain, &model_key);
    let header = Header::parse(&file).unwrap();
    let cipher = ChunkCipher::new(&model_key, &header.file_id, &file[..header_len()]);
    let mut trailer = Digest::of(b"another model").as_bytes().to_vec();
    cipher.seal(1, Kind::Trailer, &mut trailer);
    let at = file.len() - TRAILER;
    file[at..].copy_from_slice(&trailer);
    assert_eq!(open_both(&file, &model_key), Err(SealedError::Digest));
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let refused = |plain: &[u8], len: u64, options: SealOptions| match seal(
        &mut &plain[..],
        len,
        &mut Vec::new(),
        &key(1),
        &options,
    )
    .unwrap_err()
    {
        StreamError::Sealed(error) => error,
        other => panic!("{other}"),
    };
    let good = SealOptions::new("m");
    assert_eq!(refused(b"", 0, good.clone()), SealedError::Empty);
    assert_eq!(refused(b"abc", 4, good.clone()), SealedError::LengthChanged { expected: 4, got: 3 });
    assert_eq!(refused(b"abc", 2, good.clone()), SealedError::LengthChanged { expected: 2, got: 3 });
    let again = sealed(b"abc", &key(1));
    assert_eq!(refused(&again, again.len() as u64, good.clone()), SealedError::AlreadySealed);
    for name in ["", ".hidden", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(127)] {
        assert!(matches!(refused(b"abc", 3, SealOptions::new(name)), SealedError::Name { .. }), "{name}");
    }
    for chunk_size in [0, 1, 4095, 5000, MAX_CHUNK + 1, u32::MAX] {
        let options = SealOptions { chunk_size, ..good.clone() };
        assert_eq!(refused(b"abc", 3, options), SealedError::Malformed { field: "chunk size" });
    }
}

#[test]
fn a_source_that_fails_is_told_apart_from_a_wrong_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk"))
        }
    }
    let got = open_stream(&mut Broken, &mut Vec::new(), &key(1), OpenLimits::default());
    assert!(matches!(got, Err(StreamError::Read(_))));
    let file = sealed(b"abc", &key(1));
    let got = open_stream(&mut file.as_slice(), &mut [0_u8; 1].as_mut_slice(), &key(1), OpenLimits::default());
    assert!(matches!(got, Err(StreamError::Write(_))));
}

#[test]
fn a_header_says_what_it_claims_without_a_key() {
    let file = sealed(&plaintext(5000), &key(1));
    let header = Header::parse(&file).unwrap();
    assert_eq!(
        (header.name.as_str(), header.plaintext_len, header.chunks(), header.key),
        ("digits", 5000, 2, key(1).id())
    );
    assert_eq!(header.sealed_len(), file.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sealing_and_opening_is_identity(plain in proptest::collection::vec(any::<u8>(), 1..20_000), fill in any::<u8>()) {
        let (_, opened) = open_both(&sealed(&plain, &key(fill)), &key(fill)).unwrap();
        prop_assert_eq!(opened, plain);
    }

    #[test]
    fn no_change_of_any_byte_opens(len in 1..10_000_usize, at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let mut file = sealed(&plaintext(len), &key(1));
        let at = at.index(file.len());
        file[at] ^= mask;
        prop_assert!(open_both(&file, &key(1)).is_err());
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
        if magic {
            bytes.splice(0..0, *b"CMSEALED\x00\x01\x00\x06");
        }
        prop_assert!(open_both(&bytes, &key(1)).is_err());
        let _ = Header::parse(&bytes);
    }
}
