use std::process::Command;

use super::*;

fn data(blocks: u64) -> Vec<u8> {
    let block = |block: u64| {
        let byte = |index: usize| match index {
            0..8 => (block * 7 + index as u64).to_le_bytes()[0],
            _ => block.to_le_bytes()[1],
        };
        (0..16).map(byte).collect::<Vec<u8>>().repeat(BLOCK / 16)
    };
    (0..blocks).flat_map(block).collect()
}

/// A tree in memory.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Sink for Memory {
    fn block(&mut self, number: u64, block: &[u8]) -> io::Result<()> {
        let at = usize::try_from(number).unwrap() * BLOCK;
        if self.0.len() < at + BLOCK {
            self.0.resize(at + BLOCK, 0);
        }
        self.0[at..at + BLOCK].copy_from_slice(block);
        Ok(())
    }
}

/// Made with `veritysetup format --no-superblock --salt 5a5a…` of cryptsetup 2.6.1: blocks of data, the root, and the
/// SHA-256 and the size of the tree.
const VECTORS: [(u64, &str, &str, usize); 6] = [
    (
        1,
        "1624336d38b92dea2a7436c94c1dbd000ef9dbecabf6c52ea93726b516143766",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        0,
    ),
    (
        2,
        "e71dec585a7987ea4ac3610529a029ad9e23ffdba8ac1d4e16f185d2544d26b5",
        "428412831d7ff20cddca9317e46e8be4f867bff6067eece946d06c9d5afd26c2",
        4096,
    ),
    (
        128,
        "5ebc9b30e9711308cb3c6c13181378581dfe4c3e2082a2cd299a08c8d97466de",
        "ea1f32d5d5be4f96b543d6318fbde738fa62c182eecda0733ea28ddecff9eee2",
        4096,
    ),
    (
        129,
        "4cc1128e8517b9ccdca0a3bf61b0ad2f142d6624c29c65b4cba95bd6cffe6a06",
        "db726f864bc462a25905a614299310e8e7edfa7790f92f8cd73f037cfe81e0fc",
        12288,
    ),
    (
        300,
        "054a78d5fa9024db09cde083487df1c4c78e53b1f1a8d186288c650b15241f85",
        "a106333be7c8bfb9f60ca01f98bf27eb91d101348020829d60f0cc9e305f6b3d",
        16384,
    ),
    (
        16385,
        "d9e0c967980723ce729f543faf45e9c0c17b12d7772c69e8ec8de07ae3244c4a",
        "4f69f78775dd1eec80bdb42ae7eaa6917888559e5c302d0c982dfaac3ac6841e",
        540_672,
    ),
];

#[test]
fn trees_are_those_of_veritysetup() {
    for (blocks, root, tree, size) in VECTORS {
        let mut memory = Memory::default();
        let verity = build(&data(blocks), blocks, &[0x5a; 32], &mut memory).unwrap();
        assert_eq!(hex::encode(verity.root), root, "{blocks}");
        assert_eq!(memory.0.len(), size, "{blocks}");
        assert_eq!(verity.tree_bytes(), size as u64, "{blocks}");
        let digest = aws_lc_rs::digest::digest(&SHA256, &memory.0);
        assert_eq!(hex::encode(digest), tree, "{blocks}");
    }
    let zeros = vec![0; 3 * BLOCK];
    let root = build(&zeros, 3, &[], &mut Nowhere).unwrap().root;
    assert_eq!(hex::encode(root), "9dd6d9e9c181361c2e00fc975937f0f30751eca75fe058d888e80a11dc765ffe", "no salt");
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn veritysetup_accepts_a_tree_of_ours_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("data"), folder.path().join("tree"));
    let blocks = 200;
    let mut bytes = data(blocks);
    let mut memory = Memory::default();
    let verity = build(&bytes, blocks, b"a salt of some length", &mut memory).unwrap();
    std::fs::write(&two, &memory.0).unwrap();
    let mut verify = || {
        std::fs::write(&one, &bytes).unwrap();
        let (salt, count) = (format!("--salt={}", hex::encode(&verity.salt)), format!("--data-blocks={blocks}"));
        let mut command = Command::new("veritysetup");
        command.args(["verify", "--no-superblock", &salt, &count]).arg(&one).arg(&two).arg(hex::encode(verity.root));
        let status = command.stderr(std::process::Stdio::null()).status().ok().map(|status| status.success());
        bytes[77 * BLOCK] ^= 1;
        status
    };
    let Some(good) = verify() else {
        println!("SKIPPED: there is no `veritysetup` (Debian: cryptsetup-bin)");
        return;
    };
    assert!(good);
    assert_eq!(verify(), Some(false));
}

#[test]
fn every_block_of_data_and_of_the_tree_counts() {
    let blocks = 300;
    let good = data(blocks);
    let mut memory = Memory::default();
    let verity = build(&good, blocks, &[1; 32], &mut memory).unwrap();
    for block in [0, 127, 128, 299] {
        let mut bad = good.clone();
        bad[block * BLOCK + 4095] ^= 0x80;
        assert_ne!(build(&bad, blocks, &[1; 32], &mut Nowhere).unwrap().root, verity.root, "{block}");
    }
    assert_ne!(build(&good, blocks, &[2; 32], &mut Nowhere).unwrap().root, verity.root, "the salt");
    assert_ne!(build(&good, blocks - 1, &[1; 32], &mut Nowhere).unwrap().root, verity.root, "the number of blocks");
    let mut compare = Compare { tree: &memory.0, differ: 0 };
    build(&good, blocks, &[1; 32], &mut compare).unwrap();
    assert_eq!(compare.differ, 0);
    let mut bad = memory.0.clone();
    bad[5000] ^= 1;
    bad.truncate(bad.len() - 1);
    let mut compare = Compare { tree: &bad, differ: 0 };
    build(&good, blocks, &[1; 32], &mut compare).unwrap();
    assert_eq!(compare.differ, 2);
}

#[test]
fn data_that_ends_before_its_blocks_is_an_error() {
    assert!(build(&data(3), 4, &[], &mut Nowhere).is_err());
}

#[test]
fn parameters_are_read_as_they_are_written() {
    let verity = Verity { root: [7; 32], salt: vec![9; 32], blocks: 92_041 };
    assert_eq!(Verity::parse(&verity.params()).unwrap(), verity);
    assert_eq!(Verity::parse(&format!(" {} \n", verity.params())).unwrap(), verity);
}

#[test]
fn parameters_that_say_nothing_are_one_named_error() {
    let good = Verity { root: [7; 32], salt: vec![9; 32], blocks: 5 }.params();
    for (from, to, expected) in [
        ("root_hash=", "hash=", "`root_hash` is missing"),
        ("root_hash=07", "root_hash=", "`root_hash="),
        ("root_hash=07", "root_hash=zz", "`root_hash=zz"),
        ("salt=", "pepper=", "`salt` is missing"),
        ("salt=09", "salt=9", "`salt=9"),
        ("data_blocks=5", "data_blocks=0", "`data_blocks=0`"),
        ("data_blocks=5", "data_blocks=-1", "`data_blocks=-1`"),
        ("data_blocks=5", "data_blocks=99999999999", "`data_blocks=99999999999`"),
        ("data_block_size=4096", "data_block_size=512", "`data_block_size=512`"),
        ("hash_block_size=4096", "hash_block_size=", "`hash_block_size` is missing"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = Verity::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
    assert!(Verity::parse("").is_err());
}
